//! Many calls at once: few connections, and no session left.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::outside::no_session_is_left;
use crate::support::{Answer, Server, TestHome, to};
use crate::vcsim::Vcsim;

/// Passes bytes on, and counts how many connections there are at once.
struct Relay {
    port: u16,
    most: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl Relay {
    fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().port();
        let (most, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (seen, counted) = (Arc::clone(&most), Arc::clone(&all));
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // The list is no snapshot: one that ends while it is read, and the one that
                // follows it, may both be in it.
                let at_once = established(here).min(established(here));
                seen.fetch_max(at_once, Ordering::SeqCst);
                counted.fetch_add(1, Ordering::SeqCst);
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                pass(near.try_clone().unwrap(), far.try_clone().unwrap());
                pass(far, near);
            }
        });
        Self {
            port: here,
            most,
            all,
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

/// How many connections to a port of ours their clients hold, by the system's own list: the one
/// that has closed is no longer established at that moment, whatever its server knows.
fn established(port: u16) -> usize {
    let list = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    list.lines()
        .skip(1)
        .filter(|line| {
            // Number, local address, remote address, state: 01 is established.
            let fields: Vec<&str> = line.split_ascii_whitespace().take(4).collect();
            fields[2].ends_with(&remote) && fields[3] == "01"
        })
        .count()
}

#[test]
fn c4_two_hundred_calls_at_once_are_answered_through_eight_connections() {
    let home = TestHome::new();
    let vcsim = Vcsim::start(&["-vm", "2"]);
    let relay = Relay::before(vcsim.port);
    let server = Server::start(&home);
    let about = to(
        &vcsim,
        json!({ "action": "about", "port": relay.port, "timeout_s": 300 }),
    );
    let list = to(
        &vcsim,
        json!({ "action": "list_hosts", "port": relay.port, "timeout_s": 300 }),
    );
    let calls: Vec<_> = (0..200)
        .map(|n| server.start_call(if n % 2 == 0 { &about } else { &list }))
        .collect();
    let patience = std::time::Duration::from_secs(300);
    let mut firsts = 0;
    let mut ids = HashSet::new();
    for (id, receiver) in calls {
        let answer = Answer::of(&receiver.recv_timeout(patience).unwrap()).ok();
        firsts += usize::from(answer["first_contact"] == true);
        assert!(ids.insert(id));
    }
    assert_eq!(ids.len(), 200);
    assert!(firsts >= 1, "nobody was told of the first contact");
    let most = relay.most.load(Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most} connections at once");
    assert!(relay.all.load(Ordering::SeqCst) > 200);
    no_session_is_left(&vcsim);
}
