//! Reading properties: page by page, object by object, as the bytes arrive.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use hyper::StatusCode;
use tokio::io::AsyncBufRead;
use tokio::sync::oneshot;

use crate::envelope::Envelope;
use crate::error::Error;
use crate::fault::Fault;
use crate::session::Session;
use crate::soap::{self, Body};
use crate::spec::FilterSpec;
use crate::transport::{Deed, refusal, unreadable};
use crate::value::{MoRef, Value};
use crate::wire::Answer;
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
    /// Reads one as it arrives, with room for so many properties; nothing if it does not say what
    /// object it is.
    async fn read<R: AsyncBufRead + Unpin>(
        pull: &mut Pull<R>,
        room: usize,
    ) -> Result<Option<Self>, XmlError> {
        let mut reference = None;
        let mut properties = Vec::with_capacity(room);
        let mut missing = Vec::new();
        while let Some(tag) = pull.child().await? {
            match &*tag.name {
                "obj" if reference.is_none() => reference = pull.value(tag).await?.as_moref(),
                "propSet" => {
                    if let Some(property) = read_property(pull).await? {
                        properties.push(property);
                    }
                }
                "missingSet" => {
                    let field = pull.value(tag).await?;
                    missing.push(Missing {
                        path: field.text_at("path").unwrap_or_default().to_owned(),
                        fault: field
                            .get("fault")
                            .map(Fault::from_localized)
                            .unwrap_or_default(),
                    });
                }
                _ => pull.skip().await?,
            }
        }
        Ok(reference.map(|reference| Self {
            reference,
            properties,
            missing,
        }))
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

/// The path and the value of a property; nothing if either is not there.
async fn read_property<R: AsyncBufRead + Unpin>(
    pull: &mut Pull<R>,
) -> Result<Option<(String, Value)>, XmlError> {
    let (mut path, mut value) = (None, None);
    while let Some(tag) = pull.child().await? {
        match &*tag.name {
            "name" if path.is_none() => path = Some(pull.value(tag).await?.text),
            "val" if value.is_none() => value = Some(pull.value(tag).await?),
            _ => pull.skip().await?,
        }
    }
    Ok(path.zip(value))
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

/// What takes the objects of an answer.
type Sink<'s> = dyn FnMut(Object) -> ControlFlow<()> + Send + 's;

/// One page of an answer, read object by object.
#[derive(Debug)]
struct Page {
    token: Option<String>,
    stopped: bool,
}

/// Reads a page. The whole of it is checked to be there, also after the sink wants no more.
/// `next` is told the token of the page after it as soon as it is seen.
async fn read_page<R: AsyncBufRead + Unpin>(
    pull: &mut Pull<R>,
    method: &str,
    sink: &mut Sink<'_>,
    next: &mut (dyn FnMut(&str) + Send),
) -> Result<Result<Page, Fault>, XmlError> {
    let mut page = Page {
        token: None,
        stopped: false,
    };
    let mut room = 0;
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
                    let token = pull.value(tag).await?.text;
                    next(&token);
                    page.token = Some(token);
                }
                "objects" if !page.stopped => {
                    if let Some(object) = Object::read(pull, room).await? {
                        // The next one will have as many.
                        room = object.properties.len();
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
    let page = read_page(pull, method, sink, &mut |_| {}).await;
    page.is_ok_and(|page| page.is_ok())
}

/// The objects that were handed over already.
#[derive(Default)]
struct Seen(HashMap<Box<str>, Ids>);

/// The ids of one type.
#[derive(Default)]
struct Ids {
    /// Those like `vm-42`, as nearly all are: the numbers, by the text before them, of which there are few.
    numbered: HashMap<Box<str>, HashSet<u64>>,
    others: HashSet<Box<str>>,
}

impl Seen {
    /// Whether it was not there yet.
    fn is_new(&mut self, reference: &MoRef) -> bool {
        // Of few types there are many: the type is kept once.
        match self.0.get_mut(reference.kind.as_str()) {
            Some(ids) => ids.is_new(&reference.id),
            None => {
                let ids = self.0.entry(reference.kind.as_str().into()).or_default();
                ids.is_new(&reference.id)
            }
        }
    }
}

impl Ids {
    fn is_new(&mut self, id: &str) -> bool {
        let digits = id.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (name, number) = id.split_at(digits);
        // With a zero before it, it would be the same number and another id.
        let number = Some(number).filter(|number| !number.starts_with('0'));
        let Some(number) = number.and_then(|number| number.parse().ok()) else {
            return self.others.insert(id.into());
        };
        match self.numbered.get_mut(name) {
            Some(numbers) => numbers.insert(number),
            None => self.numbered.entry(name.into()).or_default().insert(number),
        }
    }
}

/// An answer that has begun to arrive.
struct Arriving {
    method: &'static str,
    answer: Answer,
}

/// Reads a recorded answer of `RetrievePropertiesEx` and hands over its objects, without a session:
/// to measure or to test the reading by itself. The sink is asked for no more once it breaks.
///
/// # Errors
/// [`Error::Malformed`] if it is no such answer, [`Error::Fault`] if it is a fault,
/// [`Error::TooLarge`] if one object in it is too large, [`Error::Lost`] if the source fails.
pub async fn read_recorded<R: AsyncBufRead + Unpin>(
    source: R,
    sink: &mut (dyn FnMut(Object) -> ControlFlow<()> + Send + '_),
) -> Result<(), Error> {
    let method = "RetrievePropertiesEx";
    let mut pull = Pull::new(source, OBJECT_LIMIT);
    match read_page(&mut pull, method, sink, &mut |_| {}).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(fault)) => Err(refusal(method, Deed::Read, fault)),
        Err(XmlError::Budget) => Err(Error::TooLarge {
            call: method,
            limit: OBJECT_LIMIT,
            effect: crate::Effect::None,
        }),
        Err(error) => Err(unreadable(method, StatusCode::OK, Deed::Read, error)),
    }
}

impl Session {
    /// Reads all that the filters select and hands it over object by object, each object once.
    ///
    /// At most `page` objects are fetched per request ([`PAGE`] is a good number). All pages are
    /// read, unless the sink breaks: then the server is told that the rest is not wanted. The next
    /// page is asked for as soon as the server has named it, while this one is still read.
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
        let mut seen = Seen::default();
        let mut done = Retrieved::default();
        let mut objects = 0;
        let mut unique = |object: Object| {
            if !seen.is_new(&object.reference) {
                return ControlFlow::Continue(());
            }
            objects += 1;
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
        // Two connections by turns: the next page is asked for while this one is still read.
        let _sparing = self.http().sparing();
        let mut arriving = self.arrive(envelope).await?;
        loop {
            let (read, next) = Box::pin(self.page(arriving, &collector, &mut unique)).await;
            done.pages += usize::from(read.is_ok());
            match (read, next) {
                (Ok(page), Some(next)) if !page.stopped => arriving = next?,
                (Ok(page), next) => {
                    done.complete = !page.stopped;
                    self.give_up(&collector, next).await;
                    break;
                }
                (Err(error), next) => {
                    self.give_up(&collector, next).await;
                    return Err(error);
                }
            }
        }
        done.objects = objects;
        Ok(done)
    }

    /// Tells the server that the pages after one that was asked for are not wanted: they would
    /// pile up in it until the logout. The token for that is in the page itself, whose objects
    /// are passed over.
    async fn give_up(&self, collector: &MoRef, next: Option<Result<Arriving, Error>>) {
        let Some(Ok(next)) = next else {
            return;
        };
        let mut token = None;
        let _ = self
            .read(next, &mut |_| ControlFlow::Break(()), &mut |next| {
                token = Some(next.to_owned());
            })
            .await;
        if let Some(token) = token {
            let mut cancel = self.envelope("CancelRetrievePropertiesEx", collector);
            cancel.text("token", &token);
            if let Err(error) = self.call(cancel, Deed::Once).await {
                tracing::debug!(%error, "cancelling a page token");
            }
        }
    }

    async fn arrive(&self, envelope: Envelope) -> Result<Arriving, Error> {
        let method = envelope.method();
        let answer = self.http().post(envelope, Deed::Read).await?;
        Ok(Arriving { method, answer })
    }

    /// Reads a page, and asks for the one after it as soon as that is named.
    async fn page(
        &self,
        arriving: Arriving,
        collector: &MoRef,
        sink: &mut Sink<'_>,
    ) -> (Result<Page, Error>, Option<Result<Arriving, Error>>) {
        let (sender, receiver) = oneshot::channel();
        let mut sender = Some(sender);
        let read = async {
            let read = self
                .read(arriving, sink, &mut |token| {
                    if let Some(sender) = sender.take() {
                        // The other side waits until we are at the end.
                        let _ = sender.send(token.to_owned());
                    }
                })
                .await;
            // No token came: nothing is to be waited for.
            drop(sender.take());
            read
        };
        let next = async {
            let token = receiver.await.ok()?;
            let mut envelope = self.envelope("ContinueRetrievePropertiesEx", collector);
            envelope.text("token", &token);
            Some(self.arrive(envelope).await)
        };
        tokio::join!(read, next)
    }

    async fn read(
        &self,
        arriving: Arriving,
        sink: &mut Sink<'_>,
        next: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Page, Error> {
        let Arriving { method, answer } = arriving;
        let status = answer.status;
        let mut pull = Pull::new(answer.body(), OBJECT_LIMIT);
        match read_page(&mut pull, method, sink, next).await {
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
