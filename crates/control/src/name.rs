//! Names that a call gives to objects: checked, spelt as the server wants them, and looked for
//! in the folder where they are to stand.

use vsphere::MoRef;

use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::fault;
use crate::machine::decoded;

/// The longest name, in characters.
const LONGEST: usize = 80;

/// A name as it is sent. vSphere takes `/` and `\` as they are and writes them as `%2f` and `%5c`
/// itself; a `%` has to be sent as `%25`, since it could begin such an escape.
pub(crate) fn sent(text: &str) -> String {
    decoded(text).replace('%', "%25")
}

/// A name as the server keeps it.
fn kept(text: &str) -> String {
    sent(text).replace('/', "%2f").replace('\\', "%5c")
}

/// Refuses a name that no object can bear.
pub(crate) fn check(arguments: &Arguments, argument: &str) -> Result<(), Failure> {
    let Some(text) = arguments.text(argument) else {
        return Ok(());
    };
    let length = decoded(text).chars().count();
    if length > LONGEST {
        return Err(Failure::new(
            "argument.too_long",
            format!("Pass `{argument}` with at most {LONGEST} characters: it has {length}"),
        )
        .with("argument", argument));
    }
    if text.trim() != text {
        return Err(Failure::new(
            "argument.out_of_range",
            format!("Pass `{argument}` without blanks at its ends: the server would cut them off"),
        )
        .with("argument", argument));
    }
    Ok(())
}

/// The refusal if something else in the folder bears this name already.
///
/// # Errors
///
/// Those of the server.
pub(crate) async fn taken(
    call: &Call<'_>,
    folder: &MoRef,
    name: &str,
    except: Option<&MoRef>,
) -> Result<Option<Failure>, Failure> {
    let mut spellings = vec![kept(name), decoded(name)];
    spellings.dedup();
    for spelling in spellings {
        let found = call.session.find_child(folder, &spelling).await;
        if let Some(found) = found.map_err(fault::failure)?
            && Some(&found) != except
        {
            return Ok(Some(
                Failure::new(
                    "vsphere.duplicate_name",
                    format!(
                        "Choose another name, or another folder: `{}` stands in this one already",
                        decoded(name)
                    ),
                )
                .with("moref", guard::text::sanitize(&found.id)),
            ));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{kept, sent};

    #[test]
    fn c9_a_name_is_sent_with_its_percent_signs_escaped_and_escapes_are_not_escaped_twice() {
        for (given, as_sent, as_kept) in [
            ("web01", "web01", "web01"),
            ("a/b", "a/b", "a%2fb"),
            ("a%2fb", "a/b", "a%2fb"),
            ("a\\b", "a\\b", "a%5cb"),
            ("100%", "100%25", "100%25"),
            ("100%25", "100%25", "100%25"),
        ] {
            assert_eq!(
                (sent(given).as_str(), kept(given).as_str()),
                (as_sent, as_kept)
            );
        }
    }
}
