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

/// All tokens up to the end or to an error, and whether it was the end.
async fn tokens(source: impl AsyncBufRead + Unpin) -> (Vec<String>, bool) {
    let mut pull = Pull::new(source, u64::MAX);
    let (mut all, mut text) = (Vec::new(), String::new());
    loop {
        text.clear();
        let token = pull.token(&mut text).await;
        if matches!(token, Ok(Token::Eof)) {
            // Blanks behind the last end say nothing.
            text.truncate(text.trim_end().len());
        }
        if token.is_ok() && !text.is_empty() {
            all.push(format!("text {text:?}"));
        }
        match token {
            Ok(Token::Start(tag)) => {
                all.push(format!("start {} {:?} {:?}", tag.name, tag.ty, tag.kind));
            }
            Ok(Token::End) => all.push("end".to_owned()),
            Ok(Token::Eof) => return (all, true),
            Err(_) => return (all, false),
        }
    }
}

/// The same, where the library finds the tokens; nothing if it finds what it does not take.
fn tokens_of_the_library(text: &str) -> Option<Vec<String>> {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let (mut all, mut text, mut depth) = (Vec::new(), String::new(), 0);
    loop {
        let event = reader.read_event().ok()?;
        if matches!(event, Event::Eof) {
            text.truncate(text.trim_end().len());
        }
        if matches!(event, Event::Start(_) | Event::End(_) | Event::Eof) && !text.is_empty() {
            all.push(format!("text {text:?}"));
            text.clear();
        }
        match event {
            // It takes tags without a name.
            Event::Start(start) if start.name().as_ref().is_empty() => return None,
            Event::Start(start) => {
                depth += 1;
                let mut tag = Tag::of(start.name().as_ref(), start.name().as_ref());
                for attribute in start.attributes().with_checks(false).flatten() {
                    let key: &str = attribute.key.as_ref();
                    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                    match value {
                        Ok(value) if key == "type" => tag.kind = Some(value.into_owned().into()),
                        Ok(value) if key.ends_with(":type") => {
                            tag.ty = Some(local(&value).to_owned().into());
                        }
                        _ => {}
                    }
                }
                all.push(format!("start {} {:?} {:?}", tag.name, tag.ty, tag.kind));
            }
            Event::End(_) => {
                depth -= 1;
                all.push("end".to_owned());
            }
            Event::Text(piece) => text.push_str(&piece.xml10_content()),
            Event::CData(piece) => text.push_str(&piece.xml10_content()),
            Event::GeneralRef(reference) => text.push(character(&reference).ok()?),
            Event::DocType(_) => return None,
            Event::Eof => return (depth == 0).then_some(all),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::Empty(_) => {}
        }
    }
}

#[tokio::test]
async fn c10_a_tag_or_a_reference_without_an_end_is_given_up() {
    for text in [
        format!("<a {}", "x".repeat(100_000)),
        format!("<a x='{}'>", "x".repeat(100_000)),
        format!("<a></a{}>", " ".repeat(100_000)),
        format!("<a>&#x{}41;</a>", "0".repeat(100)),
    ] {
        let end = text.len().min(60);
        for piece in [1, 1000, text.len()] {
            let source = tokio::io::BufReader::with_capacity(piece, text.as_bytes());
            let (_, is_whole) = tokens(source).await;
            assert!(!is_whole, "{} in pieces of {piece}", &text[..end]);
        }
    }
    // A comment and a text may be longer than any piece of theirs.
    let long = "ä ".repeat(100_000);
    let text = format!("\u{feff}<a><!--{long}--><?x {long}?><![CDATA[{long}]]></a>");
    assert_eq!(read(&text).await.unwrap().text(), long);
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
        b"\r",
        b"\n",
        b"<c x:type = 'a&amp;b\tc' type=\"d>\" >",
        b"</c >",
        b"<?p ?>",
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
    fn c2_tokens_end_where_the_library_finds_their_end_however_they_arrive(bytes in almost_xml(), piece in 1usize..40) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (at_once, in_pieces) = runtime.block_on(async {
            let source = tokio::io::BufReader::with_capacity(piece, &bytes[..]);
            (tokens(&bytes[..]).await, tokens(source).await)
        });
        prop_assert_eq!(&at_once, &in_pieces);
        if let Some(expected) = std::str::from_utf8(&bytes).ok().and_then(tokens_of_the_library) {
            prop_assert_eq!((expected, true), at_once);
        }
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
