//! Reading answers: the envelope around a method's response or a fault.

use tokio::io::AsyncBufRead;

use crate::fault::Fault;
use crate::value::Value;
use crate::xml::{Pull, Tag, XmlError};

/// What a SOAP body holds.
pub(crate) enum Body {
    /// The method's response element, its content not yet read.
    Response(Tag),
    /// A fault, read whole.
    Fault(Fault),
}

/// Reads up to the body's content. Anything but the response to `method` or a fault is an error.
pub(crate) async fn open<R: AsyncBufRead + Unpin>(
    pull: &mut Pull<R>,
    method: &str,
) -> Result<Body, XmlError> {
    let envelope = pull.child().await?;
    if envelope.is_none_or(|tag| &*tag.name != "Envelope") {
        return Err(XmlError::Malformed("it is no SOAP envelope".into()));
    }
    loop {
        let Some(tag) = pull.child().await? else {
            return Err(XmlError::Malformed("the SOAP envelope has no body".into()));
        };
        if &*tag.name == "Body" {
            break;
        }
        pull.skip().await?;
    }
    let Some(tag) = pull.child().await? else {
        return Err(XmlError::Malformed("the SOAP body is empty".into()));
    };
    if &*tag.name == "Fault" {
        return Ok(Body::Fault(Fault::from_soap(pull.value(tag).await?)));
    }
    match tag.name.strip_suffix("Response") {
        Some(name) if name == method => Ok(Body::Response(tag)),
        _ => Err(XmlError::Malformed("it answers another method".into())),
    }
}

/// Reads a whole answer: the value of the response element, or a fault.
pub(crate) async fn read_whole(
    bytes: &[u8],
    method: &str,
) -> Result<Result<Value, Fault>, XmlError> {
    // The bytes are bounded already.
    let mut pull = Pull::new(bytes, u64::MAX);
    let answer = match open(&mut pull, method).await? {
        Body::Response(tag) => Ok(pull.value(tag).await?),
        Body::Fault(fault) => Err(fault),
    };
    pull.finish().await?;
    Ok(answer)
}
