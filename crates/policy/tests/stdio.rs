//! The door: what it lets through, what it answers itself, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use policy::stdio::{Door, door};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines,
    ReadHalf, SimplexStream,
};

const LONG: Duration = Duration::from_secs(60);

/// A client outside the door and the library behind it.
struct Rig {
    stdin: Option<DuplexStream>,
    stdout: Lines<BufReader<ReadHalf<SimplexStream>>>,
    library_in: Lines<BufReader<DuplexStream>>,
    library_out: Option<DuplexStream>,
    closed: tokio::sync::watch::Receiver<bool>,
    done: tokio::task::JoinHandle<std::io::Result<()>>,
}

fn rig(drain: Duration) -> Rig {
    let (stdin, door_in) = tokio::io::duplex(1024);
    let (stdout, door_out) = tokio::io::simplex(1024);
    let Door {
        read,
        write,
        closed,
        done,
    } = door(door_in, door_out, drain);
    Rig {
        stdin: Some(stdin),
        stdout: BufReader::new(stdout).lines(),
        library_in: BufReader::new(read).lines(),
        library_out: Some(write),
        closed,
        done,
    }
}

impl Rig {
    async fn send(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).await.unwrap();
    }

    async fn send_line(&mut self, line: impl AsRef<[u8]>) {
        self.send(line.as_ref()).await;
        self.send(b"\n").await;
    }

    async fn answered(&mut self) -> Value {
        let line = bounded(self.stdout.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn passed(&mut self) -> Option<String> {
        bounded(self.library_in.next_line()).await.unwrap()
    }

    async fn library_says(&mut self, line: &str) {
        self.library_out
            .as_mut()
            .unwrap()
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
    }
}

async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.unwrap()
}

fn ping(id: impl Into<Value>) -> String {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "ping"}).to_string()
}

#[tokio::test]
async fn good_lines_pass_unchanged_and_empty_ones_are_skipped() {
    let mut rig = rig(LONG);
    let lines = [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":[1,2.5,"ü\u0000"]}}}"#,
        // The server's to refuse, so that it is recorded.
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"x","arguments":["a"]}}"#,
        r#"{ "jsonrpc" : "2.0", "method":"notifications/initialized" }"#,
        r#"{"jsonrpc":"2.0","id":"a","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#,
    ];
    rig.send(b"\n  \r\n").await;
    for line in lines {
        rig.send_line(line).await;
        assert_eq!(rig.passed().await.as_deref(), Some(line));
    }
}

#[tokio::test]
async fn bad_lines_are_answered_at_the_door_and_not_passed_on() {
    let mut rig = rig(LONG);
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"x","params":{{"a":{}1{}}}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    let long_id = ping("x".repeat(300));
    let cases: Vec<(&[u8], i64, Value)> = vec![
        (b"hunter2", -32700, json!(null)),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hunter2\"",
            -32700,
            json!(null),
        ),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}",
            -32700,
            json!(null),
        ),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"x"} {}"#,
            -32700,
            json!(null),
        ),
        (
            br#"{"jsonrpc":"2.0","id":"q","method":"x","params":{"hunter2x":1,"a":{"b":1,"b":2}}}"#,
            -32600,
            json!("q"),
        ),
        (
            br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}"#,
            -32600,
            json!(null),
        ),
        (
            br#"{"jsonrpc":"2.0","id":3,"method":"x","params":{"n":9007199254740993}}"#,
            -32600,
            json!(3),
        ),
        (
            br#"{"jsonrpc":"2.0","id":9007199254740993,"method":"x"}"#,
            -32600,
            json!(null),
        ),
        (deep.as_bytes(), -32600, json!(7)),
        (
            br#"[{"jsonrpc":"2.0","id":1,"method":"x"}]"#,
            -32600,
            json!(null),
        ),
        (b"\"hunter2\"", -32600, json!(null)),
        (br#"{"id":4,"method":"x"}"#, -32600, json!(4)),
        (br#"{"jsonrpc":"2.0","id":5}"#, -32600, json!(5)),
        (br#"{"jsonrpc":"2.0","id":6,"method":1}"#, -32600, json!(6)),
        (
            br#"{"jsonrpc":"2.0","id":6,"method":"x","params":[1]}"#,
            -32600,
            json!(6),
        ),
        (
            br#"{"jsonrpc":"2.0","id":null,"method":"x"}"#,
            -32600,
            json!(null),
        ),
        (
            br#"{"jsonrpc":"2.0","id":{},"method":"x"}"#,
            -32600,
            json!(null),
        ),
        (
            br#"{"jsonrpc":"2.0","id":1.5,"method":"x"}"#,
            -32600,
            json!(null),
        ),
        (long_id.as_bytes(), -32600, json!(null)),
        (
            br#"{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":5}}"#,
            -32602,
            json!(8),
        ),
        (
            br#"{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{}}"#,
            -32602,
            json!(8),
        ),
        (
            br#"{"jsonrpc":"2.0","id":8,"method":"tools/list","params":{"_meta":5}}"#,
            -32602,
            json!(8),
        ),
    ];
    for (line, code, id) in cases {
        rig.send_line(line).await;
        let answer = rig.answered().await;
        let shown = String::from_utf8_lossy(line);
        assert_eq!(
            (&answer["error"]["code"], &answer["id"]),
            (&json!(code), &id),
            "{shown}: {answer}"
        );
        assert_eq!(answer["jsonrpc"], "2.0");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with(['S', 'G', 'P', 'N']),
            "it leads with the remedy: {message}"
        );
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
    // None of them was passed on: the next that comes is the next good one.
    rig.send_line(ping(1)).await;
    assert_eq!(rig.passed().await, Some(ping(1)));
}

#[tokio::test]
async fn a_line_beyond_the_limit_is_answered_and_the_next_one_is_read() {
    let mut rig = rig(LONG);
    let start = br#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":""#;
    let mut line = start.to_vec();
    line.resize(guard::limit::LINE_BYTES - 3, b'x');
    line.extend_from_slice(b"\"}}");
    // More than the pipes hold, so it is written and read at the same time.
    let mut stdin = rig.stdin.take().unwrap();
    let whole = [&line[..], b"\n"].concat();
    let (sent, passed) =
        bounded(async { tokio::join!(stdin.write_all(&whole), rig.library_in.next_line()) }).await;
    sent.unwrap();
    assert_eq!(
        passed.unwrap().map(|l| l.len()),
        Some(guard::limit::LINE_BYTES)
    );
    rig.stdin = Some(stdin);
    line.insert(start.len(), b'x');
    rig.send_line(&line).await;
    assert_eq!(rig.answered().await["error"]["code"], -32600);
    rig.send_line(ping(2)).await;
    assert_eq!(rig.passed().await, Some(ping(2)));
}

#[tokio::test]
async fn lines_of_the_door_and_of_the_library_do_not_mix() {
    let mut rig = rig(LONG);
    let mut library = rig.library_out.take().unwrap();
    let talk = tokio::spawn(async move {
        for n in 0..200 {
            let line = json!({"jsonrpc": "2.0", "method": "n", "params": {"n": n, "pad": "x".repeat(700)}}).to_string();
            // In parts, as a library may write them.
            let (a, b) = line.split_at(line.len() / 2);
            library.write_all(a.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            library.write_all(b.as_bytes()).await.unwrap();
            library.write_all(b"\n").await.unwrap();
        }
        library
    });
    let mut stdin = rig.stdin.take().unwrap();
    let shout = tokio::spawn(async move {
        for _ in 0..200 {
            stdin.write_all(b"bad\n").await.unwrap();
        }
        stdin
    });
    let (mut next, mut errors) = (0, 0);
    while next < 200 || errors < 200 {
        let line = rig.answered().await;
        if line["error"]["code"] == -32700 {
            errors += 1;
        } else {
            assert_eq!(line["params"]["n"], next);
            next += 1;
        }
    }
    talk.await.unwrap();
    shout.await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_input_is_passed_on_once_every_answer_is_out() {
    let mut rig = rig(LONG);
    for id in [json!(1), json!("1"), json!(2), json!(3)] {
        rig.send_line(ping(id)).await;
        rig.passed().await.unwrap();
    }
    rig.send_line(
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#,
    )
    .await;
    rig.passed().await.unwrap();
    // A last line without a line feed counts as well, and one that is bad is still answered.
    rig.send(b"bad").await;
    drop(rig.stdin.take());
    bounded(rig.closed.wait_for(|closed| *closed))
        .await
        .unwrap();
    assert_eq!(rig.answered().await["error"]["code"], -32700);
    for id in [json!(2), json!(1)] {
        rig.library_says(&json!({"jsonrpc": "2.0", "id": id, "result": {}}).to_string())
            .await;
        assert_eq!(rig.answered().await["id"], id);
    }
    // A request of the library's own that bears the same id settles nothing.
    rig.library_says(r#"{"jsonrpc":"2.0","id":"1","method":"elicitation/create"}"#)
        .await;
    assert_eq!(rig.answered().await["id"], "1");
    assert!(
        futures_util::poll!(Box::pin(rig.library_in.next_line())).is_pending(),
        "one answer is still due"
    );
    rig.library_says(r#"{"jsonrpc":"2.0","id":"1","result":{}}"#)
        .await;
    assert_eq!(rig.passed().await, None);
    rig.answered().await;
    drop(rig.library_out.take());
    bounded(rig.done).await.unwrap().unwrap();
    assert_eq!(bounded(rig.stdout.next_line()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_delays_the_end_only_so_long() {
    let mut rig = rig(Duration::from_secs(5));
    rig.send_line(ping(1)).await;
    rig.passed().await.unwrap();
    let start = tokio::time::Instant::now();
    drop(rig.stdin.take());
    assert_eq!(rig.passed().await, None);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn when_the_library_ends_the_door_ends_though_the_client_stays() {
    let mut rig = rig(LONG);
    rig.send_line(ping(1)).await;
    rig.passed().await.unwrap();
    rig.library_says(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)
        .await;
    drop(rig.library_out.take());
    bounded(rig.done).await.unwrap().unwrap();
    let mut rest = String::new();
    rig.stdout
        .get_mut()
        .read_to_string(&mut rest)
        .await
        .unwrap();
    assert_eq!(rest, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
}

#[tokio::test]
async fn when_nobody_reads_the_output_any_more_the_door_ends_with_the_error() {
    let (_stdin, door_in) = tokio::io::duplex(64);
    let (out, door_out) = tokio::io::duplex(64);
    let Door {
        mut write, done, ..
    } = door(door_in, door_out, LONG);
    drop(out);
    write.write_all(b"{}\n").await.unwrap();
    assert!(bounded(done).await.unwrap().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_are_passed_or_answered_line_by_line(lines in proptest::collection::vec("[ -~é]{1,30}", 1..20), flags in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut rig = rig(Duration::ZERO);
            let mut expected = Vec::new();
            let mut bad = 0;
            for (i, line) in lines.iter().enumerate() {
                if flags >> (i % 64) & 1 == 1 {
                    expected.push(ping(i));
                    rig.send_line(ping(i)).await;
                } else if !line.trim().is_empty() {
                    bad += 1;
                    // None of these is a JSON-RPC message.
                    rig.send_line(line).await;
                }
                if flags >> (i % 64) & 1 == 1 {
                    assert_eq!(rig.passed().await, expected.pop());
                } else if !line.trim().is_empty() {
                    let answer = rig.answered().await;
                    assert!(answer["error"]["code"].as_i64().is_some_and(|c| c == -32700 || c == -32600));
                }
            }
            drop(rig.stdin.take());
            assert_eq!(rig.passed().await, None);
            drop(rig.library_out.take());
            bounded(rig.done).await.unwrap().unwrap();
            assert_eq!(bounded(rig.stdout.next_line()).await.unwrap(), None, "{bad} answers and no more");
        });
    }
}
