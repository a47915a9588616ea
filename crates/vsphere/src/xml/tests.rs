#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use proptest::prelude::*;

use super::*;
use crate::soap;
use crate::value::MoRef;

async fn read(text: &str) -> Result<Value, XmlError> {
    let mut pull = Pull::new(text.as_bytes(), u64::MAX);
    let tag = pull.child().await?.ok_or_else(|| malformed("no root"))?;
    let value = pull.value(tag).await?;
    pull.finish().await?;
    Ok(value)
}

#[tokio::test]
async fn c2_values_are_read_whatever_their_shape() {
    let value = read(
        "<?xml version=\"1.0\"?>\n<val xmlns:xsi=\"x\" xsi:type=\"vim25:ArrayOfThing\">\n  \
         <Thing xsi:type=\"Thing\"><n>1</n><n>2</n><on>true</on></Thing>\n  <Thing/>\n  \
         <ManagedObjectReference type=\"VirtualMachine\" xsi:type=\"ManagedObjectReference\">vm-1</ManagedObjectReference>\
         <t> a &lt;b&gt; &amp; &quot;c&quot; &#xE4;&#10;<!-- no --> d<![CDATA[<e>]]></t></val>",
    )
    .await
    .unwrap();
    assert_eq!(value.type_name(), Some("ArrayOfThing"));
    assert_eq!(value.items().count(), 4);
    let thing = value.get("Thing").unwrap();
    assert_eq!(
        thing.all("n").filter_map(Value::as_i64).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(thing.get("on").unwrap().as_bool(), Some(true));
    assert_eq!(
        value.get("ManagedObjectReference").unwrap().as_moref(),
        Some(MoRef::new("VirtualMachine", "vm-1"))
    );
    assert_eq!(value.text_at("t"), Some(" a <b> & \"c\" ä\n d<e>"));
    assert_eq!(value.text(), "", "indentation became text");
    assert_eq!(value.at("Thing.n").unwrap().as_bool(), Some(true));
    assert_eq!(value.at("Thing.nothing.there"), None);
}

#[tokio::test]
async fn c11_what_is_cut_off_or_crooked_is_an_error() {
    let whole = "<a x=\"1\"><b>text</b><c/></a>";
    assert!(read(whole).await.is_ok());
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).await.is_err(), "{:?}", &whole[..end]);
    }
    for text in [
        "<a></b>",
        "<a>&nobody;</a>",
        "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
        "</a>",
        "text",
        "<a/>text",
        "<a><",
        "\u{0}",
        "{\"json\": true}",
    ] {
        assert!(read(text).await.is_err(), "{text}");
    }
    let mut pull = Pull::new(&b"<a>\xff\xfe</a>"[..], u64::MAX);
    let tag = pull.child().await.unwrap().unwrap();
    assert!(pull.value(tag).await.is_err());
}

#[tokio::test]
async fn c10_depth_and_size_are_bounded() {
    let deep = |n: usize| format!("{}{}", "<a>".repeat(n), "</a>".repeat(n));
    assert!(read(&deep(DEPTH)).await.is_ok());
    assert!(matches!(
        read(&deep(DEPTH + 1)).await,
        Err(XmlError::Malformed(_))
    ));
    let large = format!("<a>{}</a>", "x".repeat(100_000));
    // Arrives in pieces, as from a network: one piece may exceed the budget, not more.
    let source = tokio::io::BufReader::with_capacity(1000, large.as_bytes());
    let mut pull = Pull::new(source, 10_000);
    let tag = pull.child().await.unwrap().unwrap();
    assert!(matches!(pull.value(tag).await, Err(XmlError::Budget)));
}

#[tokio::test]
async fn c11_only_the_answer_to_the_call_counts() {
    let body = |inner: &str| {
        format!(
            "<e:Envelope xmlns:e=\"s\"><e:Header><x/></e:Header><e:Body>{inner}</e:Body></e:Envelope>"
        )
    };
    let whole =
        |text: String| async move { soap::read_whole(text.as_bytes(), "CurrentTime").await };
    let answer = whole(body(
        "<CurrentTimeResponse xmlns=\"urn:vim25\"><returnval>now</returnval></CurrentTimeResponse>",
    ));
    assert_eq!(
        answer.await.unwrap().unwrap().text_at("returnval"),
        Some("now")
    );
    for wrong in [
        body("<LoginResponse/>"),
        body("<CurrentTime/>"),
        body(""),
        body("<CurrentTimeResponse/>").replace("</e:Envelope>", ""),
        "<html><body>Bad gateway</body></html>".to_owned(),
        "<e:Envelope xmlns:e=\"s\"/>".to_owned(),
        String::new(),
    ] {
        assert!(whole(wrong.clone()).await.is_err(), "{wrong}");
    }
}

/// Anything made of the pieces that XML is made of, so that a good part of it parses a good way.
fn almost_xml() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"<soapenv:Envelope>",
        b"<Body>",
        b"<CurrentTimeResponse>",
        b"<Fault>",
        b"<detail><X xsi:type=\"NoPermissionFault\">",
        b"</Fault>",
        b"</Body>",
        b"<a type='x' type=\"y\" z>",
        b"</a>",
        b"<b/>",
        b"&amp;",
        b"&#0;",
        b"&#xD800;",
        b"&#99999999999;",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"-->",
        b"<?xml version='1.0'?>",
        b"text \xc3\xa4 ",
        b"\xff",
        b"\0",
        b"<",
        b">",
        b"\"",
    ];
    proptest::collection::vec(proptest::sample::select(PIECES), 0..40)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn c11_garbage_never_panics(bytes in prop_oneof![almost_xml(), proptest::collection::vec(any::<u8>(), 0..300)]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            drop(soap::read_whole(&bytes, "CurrentTime").await);
            drop(crate::version::newest_common(&bytes).await);
            let mut pull = Pull::new(&bytes[..], 100);
            while let Ok(Some(tag)) = pull.child().await {
                drop(pull.value(tag).await);
            }
        });
    }

    #[test]
    fn c2_what_is_written_is_read_back(text in "\\PC*|[ \\t\\n\\r<>&'\"a-zÄ-ü]*", id in "[ -~]+") {
        let mut envelope = crate::envelope::Envelope::new("Rename_Task", &MoRef::new("T<\"&'>", id.as_str()), Some(&text));
        envelope.text("newName", &text);
        let Ok(bytes) = envelope.finish() else {
            prop_assert!(text.chars().any(|c| matches!(c, '\u{fffe}' | '\u{ffff}')), "{text:?} was refused");
            return Ok(());
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sent = runtime.block_on(read(std::str::from_utf8(&bytes).unwrap())).unwrap();
        prop_assert_eq!(sent.text_at("Header.operationID"), Some(text.as_str()));
        let call = sent.at("Body.Rename_Task").unwrap();
        prop_assert_eq!(call.text_at("newName"), Some(text.as_str()));
        prop_assert_eq!(call.get("_this").unwrap().as_moref(), Some(MoRef::new("T<\"&'>", id.as_str())));
    }
}

#[test]
fn c11_a_text_that_xml_cannot_carry_is_refused_by_its_field() {
    for c in ['\0', '\u{1b}', '\u{fffe}'] {
        let mut envelope =
            crate::envelope::Envelope::new("Login", &MoRef::new("SessionManager", "s"), None);
        envelope
            .text("userName", "me")
            .text("password", &format!("a{c}b"));
        match envelope.finish() {
            Err(crate::Error::InvalidText { field }) => assert_eq!(field, "password"),
            other => panic!("{other:?}"),
        }
    }
}
