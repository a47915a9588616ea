//! The paging itself, and whole conversations over plain connections.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::{Kept, MOST, Paged, Pager, between, body, converse, header, pages, request, token_in};

fn object(n: usize) -> String {
    format!("<objects><obj type=\"VirtualMachine\">vm-{n}</obj></objects>")
}

fn answer(count: usize) -> Vec<u8> {
    let objects: String = (0..count).map(object).collect();
    body("RetrievePropertiesEx", None, objects.as_bytes())
}

#[test]
fn every_object_is_in_one_page_and_in_its_order() {
    for (count, most, sizes) in [
        (0, 3, vec![]),
        (2, 3, vec![2]),
        (3, 3, vec![3]),
        (7, 3, vec![3, 3, 1]),
    ] {
        let answer = answer(count);
        let pages = pages(&answer, most);
        let texts: Vec<String> = pages
            .iter()
            .map(|page| String::from_utf8_lossy(&answer[page.clone()]).into_owned())
            .collect();
        let found: Vec<usize> = texts
            .iter()
            .map(|text| text.matches("<obj ").count())
            .collect();
        assert_eq!(found, sizes, "{count}");
        assert_eq!(texts.concat(), (0..count).map(object).collect::<String>());
    }
}

#[test]
fn an_answer_that_is_cut_gives_only_whole_objects() {
    let whole = answer(2);
    let cut = &whole[..whole.len() - 60 - "</objects>".len()];
    let page = pages(cut, 3).remove(0);
    assert!(cut[page].ends_with(b"</objects>"));
}

#[test]
fn a_token_is_good_for_one_page() {
    let bytes = answer(5);
    let pages = pages(&bytes, 2);
    let paged = Arc::new(Paged { bytes, pages });
    let mut kept = Kept::default();
    let mut page = kept.page(&paged, 0, "RetrievePropertiesEx");
    let mut seen = 0;
    loop {
        let text = String::from_utf8_lossy(&page).into_owned();
        seen += text.matches("<objects>").count();
        let Some(token) = between(&text, "<token>", "</token>") else {
            break;
        };
        let request = format!("<token xsi:type=\"xsd:string\">{token}</token>");
        page = kept.continued(&request).unwrap_or_default();
        assert!(text.find("<token>") < text.find("<objects>"));
        assert!(kept.continued(&request).is_none());
    }
    assert_eq!((seen, kept.answers.len()), (5, 0));
}

#[test]
fn the_words_of_each_peer_for_the_next_page_are_understood() {
    // Beside ours and govc's, as pyVmomi writes it: every argument with the version of the API.
    for request in [
        "<ContinueRetrievePropertiesEx xmlns=\"urn:vim25\"><_this type=\"PropertyCollector\">\
         propertyCollector</_this><token>page-7</token></ContinueRetrievePropertiesEx>",
        "<ContinueRetrievePropertiesEx xmlns=\"urn:vim25\"><_this versionId=\"6.5\" \
         type=\"PropertyCollector\">propertyCollector</_this><token versionId=\"6.5\">page-7</token>\
         </ContinueRetrievePropertiesEx>",
    ] {
        assert_eq!(token_in(request), Some("page-7"), "{request}");
    }
    assert_eq!(token_in("<token/>"), None);
}

#[test]
fn headers_are_found_by_any_spelling() {
    let head = "POST /sdk HTTP/1.1\r\nContent-LENGTH:  12\r\nX: a:b\r\n\r\n";
    assert_eq!(header(head, "content-length"), Some("12"));
    assert_eq!(header(head, "x"), Some("a:b"));
    assert_eq!(header(head, "cookie"), None);
}

/// A server that answers one request after the other with everything at once.
async fn upstream(count: usize) -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = Vec::new();
            while !heard.ends_with(b"</end>")
                && stream.read_buf(&mut heard).await.is_ok_and(|n| n > 0)
            {}
            let sent = [
                &b"HTTP/1.0 200 OK\r\nSet-Cookie: a=b\r\n\r\n"[..],
                &answer(count),
            ]
            .concat();
            if stream.write_all(&sent).await.is_err() {
                return;
            }
        }
    });
    Ok(address)
}

fn post(inner: &str) -> Vec<u8> {
    let body = format!("{inner}</end>");
    format!(
        "POST /sdk HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[test]
fn a_client_that_continues_gets_all_and_one_that_makes_up_a_token_nothing() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let address = upstream(MOST + 1).await?;
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let kept = Mutex::new(Kept::default());
        let talk = async {
            client
                .write_all(&post("<RetrievePropertiesEx xmlns=\"urn:vim25\">"))
                .await?;
            let mut said = String::new();
            let mut bytes = vec![0; 1 << 16];
            while !said.contains("</soapenv:Envelope>") {
                let n = client.read(&mut bytes).await?;
                said.push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
            assert_eq!(said.matches("<objects>").count(), MOST);
            assert!(said.contains("Set-Cookie: a=b\r\n"));
            let token = between(&said, "<token>", "</token>").context("no token")?;
            let inner = format!("<ContinueRetrievePropertiesEx><token>{token}</token>");
            client.write_all(&post(&inner)).await?;
            client.write_all(&post(&inner)).await?;
            client.shutdown().await?;
            let mut rest = String::new();
            client.read_to_string(&mut rest).await?;
            assert_eq!(rest.matches("<objects>").count(), 1);
            assert!(rest.contains("400 Bad Request"));
            anyhow::Ok(())
        };
        let served = async {
            converse(BufReader::new(server), address, &kept).await?;
            anyhow::Ok(())
        };
        tokio::try_join!(talk, served)?;
        Ok(())
    })
}

#[test]
fn it_starts_within_a_runtime_and_ends_when_it_is_dropped() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let port = runtime.block_on(async {
        let pager = Pager::start(upstream(1).await?)?;
        std::net::TcpStream::connect(("127.0.0.1", pager.port))?;
        anyhow::Ok(pager.port)
    })?;
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    Ok(())
}

#[test]
fn a_request_in_pieces_is_read_whole() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let sent = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x\r\n0123456789\r\n0\r\n\r\n\
            POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nxy";
        let mut client = BufReader::new(&sent[..]);
        for expected in [&b"abc0123456789"[..], b"xy"] {
            let (_, body) = request(&mut client).await?.context("no request")?;
            assert_eq!(body, expected);
        }
        assert!(request(&mut client).await?.is_none());
        Ok(())
    })
}
