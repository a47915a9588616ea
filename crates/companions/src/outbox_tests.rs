use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use super::*;
use crate::scrub::Scrub;
use crate::wire::Progress;

fn board() -> Arc<Board> {
    Arc::new(Board::new("x".to_owned(), Scrub::default()))
}

/// A pipe that counts the writes, and takes so many bytes in all before it breaks.
struct Pipe {
    writes: Arc<AtomicUsize>,
    taken: Arc<Mutex<Vec<u8>>>,
    most: usize,
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let mut taken = self.taken.lock().unwrap();
        let room = self.most - taken.len();
        if room == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = &bytes[..bytes.len().min(room)];
        taken.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn line(id: i64) -> Vec<u8> {
    format!("message {id:03}\n").into_bytes()
}

/// How long each of those lines is.
const LINE: usize = 12;

/// Sends them all at the same time; what came of each.
async fn send_all<W: AsyncWrite + Send + Unpin + 'static>(
    outbox: &Arc<Outbox<W>>,
    ids: impl Iterator<Item = i64>,
) -> Vec<(i64, bool)> {
    let mut sending = JoinSet::new();
    for id in ids {
        let outbox = Arc::clone(outbox);
        sending.spawn(async move { (id, outbox.send(line(id), Some(id)).await.is_ok()) });
    }
    let mut ends = sending.join_all().await;
    ends.sort_unstable();
    ends
}

#[tokio::test]
async fn messages_that_are_sent_at_the_same_time_leave_in_one_write() {
    let (writes, taken) = (Arc::default(), Arc::default());
    let pipe = Pipe {
        writes: Arc::clone(&writes),
        taken: Arc::clone(&taken),
        most: usize::MAX,
    };
    let outbox = Arc::new(Outbox::new(pipe, board()));
    let ends = send_all(&outbox, 0..100).await;
    assert!(ends.iter().all(|(_, sent)| *sent), "{ends:?}");
    let wanted: Vec<u8> = (0..100).flat_map(line).collect();
    assert_eq!(*taken.lock().unwrap(), wanted, "each whole, in order");
    assert_eq!(writes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn p18_what_a_full_pipe_took_nothing_of_was_not_sent() {
    let board = board();
    // Room for one message and a part of the next.
    let (near, mut far) = tokio::io::duplex(LINE + 3);
    let outbox = Arc::new(Outbox::new(near, Arc::clone(&board)));
    let sender = Arc::clone(&outbox);
    let sending = tokio::spawn(async move { send_all(&sender, 1..=4).await });
    while !(board.is_sent(1) && board.is_sent(2)) {
        tokio::task::yield_now().await;
    }
    assert!(matches!(board.settle(2), Progress::Sent), "a part of it");
    assert!(matches!(board.settle(3), Progress::NotSent));
    let mut read = vec![0; LINE * 3];
    far.read_exact(&mut read).await.unwrap();
    assert_eq!(read, [line(1), line(2), line(4)].concat());
    let ends = sending.await.unwrap();
    assert_eq!(ends, [(1, true), (2, true), (3, false), (4, true)]);
}

#[tokio::test]
async fn p18_of_messages_in_a_broken_pipe_those_with_no_byte_in_it_were_not_sent() {
    let board = board();
    let pipe = Pipe {
        writes: Arc::default(),
        taken: Arc::default(),
        most: LINE + 3,
    };
    let outbox = Arc::new(Outbox::new(pipe, Arc::clone(&board)));
    send_all(&outbox, 1..=3).await;
    assert!(matches!(board.settle(1), Progress::Sent));
    assert!(matches!(board.settle(2), Progress::Sent));
    assert!(matches!(board.settle(3), Progress::NotSent));
    // What follows half a line would be read as its rest.
    let after = outbox.send(line(4), Some(4)).await.unwrap_err();
    assert_eq!(after.kind(), io::ErrorKind::NotConnected);
    assert!(matches!(board.settle(4), Progress::NotSent));
}

#[tokio::test]
async fn p18_a_message_that_is_larger_than_the_pipe_arrives_whole() {
    let (near, mut far) = tokio::io::duplex(1000);
    let outbox = Arc::new(Outbox::new(near, board()));
    let large = [vec![b'x'; CHUNK * 3], b"\n".to_vec()].concat();
    let wanted = [line(1), large.clone(), line(3)].concat();
    let sender = Arc::clone(&outbox);
    let sending = tokio::spawn(async move {
        tokio::join!(
            sender.send(line(1), Some(1)),
            sender.send(large, Some(2)),
            sender.send(line(3), None),
        )
    });
    let mut read = vec![0; wanted.len()];
    far.read_exact(&mut read).await.unwrap();
    assert!(read == wanted, "it came otherwise");
    let (first, large, last) = sending.await.unwrap();
    assert!(first.is_ok() && large.is_ok() && last.is_ok());
}
