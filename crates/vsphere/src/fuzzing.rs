//! Doors for fuzzing: bytes of a server, whatever they are, never make this room panic, and mean the
//! same however they arrive. Used by the targets in `fuzz/`, and by the tests below.

use std::ops::ControlFlow;

use futures_util::FutureExt as _;
use tokio::io::{AsyncBufRead, BufReader};

use crate::fault::Fault;
use crate::property::{Object, read_objects};
use crate::soap;
use crate::value::{MoRef, Value};
use crate::xml::Pull;

/// The method that the bytes are taken for an answer to.
const METHOD: &str = "RetrievePropertiesEx";

/// Reads the bytes as an answer of a server: as a whole, and as a page of objects.
pub fn soap(bytes: &[u8]) {
    let whole = now(soap::read_whole(bytes, METHOD));
    match &whole {
        Ok(Ok(value)) => look(value, 0),
        Ok(Err(fault)) => look_at_fault(fault),
        Err(_) => {}
    }
    let (at_once, first) = objects(bytes);
    for object in &at_once {
        look_at(object);
    }
    // As it arrives: a few bytes at a time.
    for piece in [1, 3, 64] {
        let (in_pieces, second) = objects(BufReader::with_capacity(piece, bytes));
        assert!(
            at_once == in_pieces && first == second,
            "in pieces of {piece}"
        );
    }
    // What is a page of objects is an answer as well.
    assert!(!first || whole.is_ok_and(|answer| answer.is_ok()));
}

/// Reads the bytes as the content of a property.
pub fn value(bytes: &[u8]) {
    let mut text = b"<val xmlns:xsi=\"x\">".to_vec();
    text.extend_from_slice(bytes);
    text.extend_from_slice(b"</val>");
    let mut pull = Pull::new(&text[..], 1 << 20);
    let value = now(async {
        let tag = pull.child().await.ok()??;
        pull.value(tag).await.ok()
    });
    if let Some(value) = value {
        look(&value, 0);
        look_at_fault(&Fault::from_localized(&value));
        look_at(&Object {
            reference: MoRef::new("VirtualMachine", "vm-1"),
            properties: vec![("val".to_owned(), value)],
            missing: Vec::new(),
        });
    }
}

/// Every object of a page, and whether the page is whole.
fn objects(source: impl AsyncBufRead + Unpin) -> (Vec<Object>, bool) {
    let mut all = Vec::new();
    let mut pull = Pull::new(source, 1 << 20);
    let is_whole = now(read_objects(&mut pull, METHOD, &mut |object| {
        all.push(object);
        ControlFlow::Continue(())
    }));
    (all, is_whole)
}

/// Nothing in memory is waited for.
fn now<T>(work: impl Future<Output = T>) -> T {
    match work.now_or_never() {
        Some(done) => done,
        None => panic!("it waits for what is there"),
    }
}

fn look(value: &Value, depth: usize) {
    assert!(depth <= 256, "deeper than is read");
    let _ = (value.as_bool(), value.as_i64(), value.as_moref());
    let _ = (value.type_name(), value.is_struct(), value.text());
    assert!(value.fields().count() == value.items().count());
    for (name, field) in value.fields() {
        assert!(value.get(name).is_some() && value.all(name).next().is_some());
        look(field, depth + 1);
    }
    let _ = (value.at("a.b"), value.text_at("config.hardware.numCPU"));
    let _ = format!("{value:?}").len();
}

fn look_at(object: &Object) {
    for (path, value) in &object.properties {
        assert!(object.get(path).is_some());
        look(value, 0);
    }
    for missing in &object.missing {
        assert!(object.is_unreadable(&missing.path));
        look_at_fault(&missing.fault);
    }
    let _ = object.is_gone();
}

fn look_at_fault(fault: &Fault) {
    let _ = (fault.fields(), fault.object(), fault.field("name"));
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// What the mutations of one door may take.
    const TIME: Duration = Duration::from_secs(3);

    /// The texts that a fuzzer begins with, and those that it once found.
    fn corpus(of: &str) -> Vec<Vec<u8>> {
        let dir = format!("{}/../../fuzz/corpus/{of}", env!("CARGO_MANIFEST_DIR"));
        let mut paths: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect()
    }

    /// Numbers that follow from a seed (xorshift).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, most: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % most.max(1) as u64) as usize
        }
    }

    const WORDS: &[&[u8]] = &[
        b"<",
        b">",
        b"/>",
        b"</",
        b"&",
        b";",
        b"&#0;",
        b"&#x110000;",
        b"&lt;",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"-->",
        b"<?",
        b"<!DOCTYPE a [<!ENTITY b \"c\">]>",
        b"\"",
        b"=",
        b" xsi:type=\"",
        b" type=\"",
        b"\xff",
        b"\0",
        b"\xef\xbb\xbf",
        b"<objects>",
        b"<token>",
        b"<missingSet>",
        b"<propSet>",
        b"<obj type=\"VirtualMachine\">",
        b"<val>",
        b"9223372036854775808",
    ];

    fn mutated(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut text = corpus[dice.below(corpus.len())].clone();
        for _ in 0..=dice.below(6) {
            let at = dice.below(text.len() + 1);
            let end = (at + dice.below(40)).min(text.len());
            match dice.below(6) {
                0 if at < text.len() => text[at] ^= 1 << dice.below(8),
                1 => drop(text.drain(at..end)),
                2 => {
                    let twice = text[at..end].to_vec();
                    text.splice(at..at, twice);
                }
                3 => {
                    let word = WORDS[dice.below(WORDS.len())];
                    text.splice(at..at, word.iter().copied());
                }
                4 => text.truncate(at),
                _ => {
                    let other = &corpus[dice.below(corpus.len())];
                    let from = dice.below(other.len() + 1);
                    text.truncate(at);
                    text.extend_from_slice(&other[from..]);
                }
            }
        }
        text
    }

    #[expect(clippy::print_stdout, reason = "the count is part of the proof")]
    fn fuzz(of: &str, door: fn(&[u8])) {
        let corpus = corpus(of);
        assert!(corpus.len() >= 5, "{of}");
        for text in &corpus {
            door(text);
            for end in 0..text.len().min(2_000) {
                door(&text[..end]);
            }
        }
        let seed = std::env::var("PILOTHOUSE_FUZZ_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or(0x9e37_79b9_7f4a_7c15);
        let mut dice = Dice(seed);
        let until = Instant::now() + TIME;
        let mut tried = 0;
        while tried < 20_000 && Instant::now() < until {
            let text = mutated(&mut dice, &corpus);
            let shown = String::from_utf8_lossy(&text).into_owned();
            let done = std::panic::catch_unwind(|| door(&text));
            assert!(done.is_ok(), "seed {seed}, number {tried}: {shown}");
            tried += 1;
        }
        println!("{of}: {tried} mutations");
        assert!(tried > 100, "{of}: only {tried} in {TIME:?}");
    }

    #[test]
    fn c2_no_answer_of_a_server_makes_the_reader_panic() {
        fuzz("soap", soap);
    }

    #[test]
    fn c2_no_value_of_a_property_makes_the_reader_panic() {
        fuzz("values", value);
    }
}
