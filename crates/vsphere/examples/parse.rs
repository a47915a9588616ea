//! Reads a recorded answer of `RetrievePropertiesEx` from a file, so often, and writes what that
//! took: the parser alone, without a network.
//!
//! `parse FILE [ROUNDS]`
//!
//! It writes: the bytes, the objects, the properties, and the microseconds of the fastest round.

use std::error::Error;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, rounds @ ..] = arguments.as_slice() else {
        return Err("pass FILE [ROUNDS]".into());
    };
    let rounds: usize = match rounds.first() {
        Some(rounds) => rounds.parse()?,
        None => 1,
    };
    let answer = std::fs::read(file)?;
    let mut fastest = None;
    let (mut objects, mut properties) = (0, 0);
    for _ in 0..rounds {
        (objects, properties) = (0, 0);
        let begun = Instant::now();
        vsphere::property::read_recorded(answer.as_slice(), &mut |object| {
            objects += 1;
            properties += object.properties.len();
            ControlFlow::Continue(())
        })
        .await?;
        let time = begun.elapsed();
        fastest = Some(fastest.map_or(time, |fastest| time.min(fastest)));
    }
    writeln!(
        io::stdout(),
        "{} {objects} {properties} {}",
        answer.len(),
        fastest.unwrap_or_default().as_micros()
    )?;
    Ok(())
}
