//! Reading properties: page by page, object by object, as the bytes arrive.

use std::collections::HashSet;
use std::ops::ControlFlow;

use hyper::StatusCode;
use tokio::io::AsyncBufRead;

use crate::error::Error;
use crate::fault::Fault;
use crate::session::Session;
use crate::soap::{self, Body};
use crate::spec::FilterSpec;
use crate::transport::{Deed, refusal, unreadable};
use crate::value::{MoRef, Value};
use crate::xml::{Pull, XmlError};

/// Objects per page. Without it a vCenter gives 100.
pub const PAGE: u32 = 1000;

/// How large one object may be in an answer.
const OBJECT_LIMIT: u64 = 32 << 20;

/// A property that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its path; empty if it is the whole object.
    pub path: String,
    /// Why, mostly `NoPermission`.
    pub fault: Fault,
}

/// An object with the properties that were asked for.
///
/// A property that is in neither list is unset on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The object itself.
    pub reference: MoRef,
    /// What is set, by path.
    pub properties: Vec<(String, Value)>,
    /// What is unreadable.
    pub missing: Vec<Missing>,
}

impl Object {
    pub(crate) fn from_value(mut value: Value) -> Option<Self> {
        let reference = value.get("obj").and_then(Value::as_moref)?;
        let mut object = Self {
            reference,
            properties: Vec::new(),
            missing: Vec::new(),
        };
        for (name, mut field) in value.fields.drain(..) {
            match &*name {
                "propSet" => {
                    let Some(path) = field.text_at("name").map(str::to_owned) else {
                        continue;
                    };
                    if let Some((_, value)) = field.fields.iter_mut().find(|(n, _)| &**n == "val") {
                        object.properties.push((path, std::mem::take(value)));
                    }
                }
                "missingSet" => object.missing.push(Missing {
                    path: field.text_at("path").unwrap_or_default().to_owned(),
                    fault: field
                        .get("fault")
                        .map(Fault::from_localized)
                        .unwrap_or_default(),
                }),
                _ => {}
            }
        }
        Some(object)
    }

    /// The value of a property, if it is set and readable.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.properties
            .iter()
            .find(|(p, _)| p == path)
            .map(|(_, v)| v)
    }

    /// The text of a property that is a scalar.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path).map(Value::text)
    }

    /// Whether the server could not read this property for us.
    pub fn is_unreadable(&self, path: &str) -> bool {
        self.missing.iter().any(|m| m.path == path)
    }

    /// Whether the server says that the object does not exist (any more).
    pub fn is_gone(&self) -> bool {
        self.properties.is_empty()
            && self
                .missing
                .iter()
                .any(|m| m.fault.kind == "ManagedObjectNotFound")
    }
}

/// What came of a [`Session::retrieve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Retrieved {
    /// Objects that were handed over.
    pub objects: usize,
    /// Pages that were fetched.
    pub pages: usize,
    /// False if the sink wanted no more.
    pub complete: bool,
}

/// One page of an answer, read object by object.
#[derive(Debug)]
struct Page {
    token: Option<String>,
    stopped: bool,
}

/// Reads a page. The whole of it is checked to be there, also after the sink wants no more.
async fn read_page<R: AsyncBufRead + Unpin>(
    pull: &mut Pull<R>,
    method: &str,
    sink: &mut (dyn FnMut(Object) -> ControlFlow<()> + Send),
    token: &mut Option<String>,
) -> Result<Result<Page, Fault>, XmlError> {
    let mut page = Page {
        token: None,
        stopped: false,
    };
    match soap::open(pull, method).await? {
        Body::Fault(fault) => return Ok(Err(fault)),
        Body::Response(_) => {}
    }
    // No `returnval` at all: nothing matched.
    while let Some(tag) = pull.child().await? {
        if &*tag.name != "returnval" {
            pull.skip().await?;
            continue;
        }
        while let Some(tag) = pull.child().await? {
            match &*tag.name {
                "token" => {
                    page.token = Some(pull.value(tag).await?.text);
                    token.clone_from(&page.token);
                }
                "objects" if !page.stopped => {
                    if let Some(object) = Object::from_value(pull.value(tag).await?) {
                        page.stopped = sink(object).is_break();
                    }
                }
                _ => pull.skip().await?,
            }
            pull.refill();
        }
    }
    pull.finish().await?;
    Ok(Ok(page))
}

/// Hands over the objects of a page; whether it is whole and no fault.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) async fn read_objects<R: AsyncBufRead + Unpin>(
    pull: &mut Pull<R>,
    method: &str,
    sink: &mut (dyn FnMut(Object) -> ControlFlow<()> + Send),
) -> bool {
    let page = read_page(pull, method, sink, &mut None).await;
    page.is_ok_and(|page| page.is_ok())
}

impl Session {
    /// Reads all that the filters select and hands it over object by object, each object once.
    ///
    /// At most `page` objects are fetched per request ([`PAGE`] is a good number). All pages are
    /// read, unless the sink breaks: then the server is told that the rest is not wanted.
    ///
    /// On an error, what was handed over before is **not** the whole: throw it away.
    ///
    /// # Errors
    /// Those of any call; a path that the server does not know is a fault.
    pub async fn retrieve<F>(
        &self,
        specs: &[FilterSpec],
        page: u32,
        mut sink: F,
    ) -> Result<Retrieved, Error>
    where
        F: FnMut(Object) -> ControlFlow<()> + Send,
    {
        let collector = self.content().need("propertyCollector")?;
        // A tree can reach an object on two ways; servers differ in whether they report it twice.
        let mut seen = HashSet::new();
        let mut done = Retrieved::default();
        let mut unique = |object: Object| {
            if !seen.insert(object.reference.clone()) {
                return ControlFlow::Continue(());
            }
            done.objects += 1;
            sink(object)
        };
        let mut envelope = self.envelope("RetrievePropertiesEx", &collector);
        for spec in specs {
            spec.write(&mut envelope, "specSet");
        }
        envelope
            .open("options")
            .text("maxObjects", &page.to_string())
            .close("options");
        let mut pages = 0;
        let stopped = loop {
            let mut token = None;
            let fetched = self.page(envelope, &mut unique, &mut token).await;
            if let (Some(token), true) = (&token, fetched.as_ref().map_or(true, |p| p.stopped)) {
                // What is not fetched would pile up in the server until the logout.
                let mut cancel = self.envelope("CancelRetrievePropertiesEx", &collector);
                cancel.text("token", token);
                if let Err(error) = self.call(cancel, Deed::Once).await {
                    tracing::debug!(%error, "cancelling a page token");
                }
            }
            let page = fetched?;
            pages += 1;
            match page.token {
                Some(token) if !page.stopped => {
                    envelope = self.envelope("ContinueRetrievePropertiesEx", &collector);
                    envelope.text("token", &token);
                }
                _ => break page.stopped,
            }
        };
        done.pages = pages;
        done.complete = !stopped;
        Ok(done)
    }

    async fn page(
        &self,
        envelope: crate::envelope::Envelope,
        sink: &mut (dyn FnMut(Object) -> ControlFlow<()> + Send),
        token: &mut Option<String>,
    ) -> Result<Page, Error> {
        let method = envelope.method();
        let answer = self.http().post(envelope, Deed::Read).await?;
        let status = answer.status;
        let mut pull = Pull::new(answer.body(), OBJECT_LIMIT);
        match read_page(&mut pull, method, sink, token).await {
            Ok(Ok(page)) if status == StatusCode::OK => Ok(page),
            Ok(Ok(_)) => Err(unreadable(
                method,
                status,
                Deed::Read,
                XmlError::Malformed(String::new()),
            )),
            Ok(Err(fault)) => Err(refusal(method, Deed::Read, fault)),
            Err(XmlError::Budget) => Err(Error::TooLarge {
                call: method,
                limit: OBJECT_LIMIT,
                effect: crate::Effect::None,
            }),
            Err(XmlError::Io(io)) => Err(self.http().broken(method, Deed::Read, &io)),
            Err(error) => Err(unreadable(method, status, Deed::Read, error)),
        }
    }

    /// As [`Session::retrieve`], all objects at once: for answers of known size.
    ///
    /// # Errors
    /// As [`Session::retrieve`].
    pub async fn collect(&self, specs: &[FilterSpec]) -> Result<Vec<Object>, Error> {
        let mut objects = Vec::new();
        self.retrieve(specs, PAGE, |object| {
            objects.push(object);
            ControlFlow::Continue(())
        })
        .await?;
        Ok(objects)
    }

    /// Properties of one object; `None` if it does not exist.
    ///
    /// # Errors
    /// As [`Session::retrieve`], except that an object that is gone is no error.
    pub async fn properties(
        &self,
        reference: &MoRef,
        paths: &[&str],
    ) -> Result<Option<Object>, Error> {
        match self
            .collect(&[FilterSpec::objects(&reference.kind, [reference], paths)])
            .await
        {
            Ok(objects) => Ok(objects
                .into_iter()
                .find(|o| o.reference == *reference && !o.is_gone())),
            Err(error) if error.is_fault("ManagedObjectNotFound") => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
