//! Single calls, logins and logouts: what is sent how often, and what is said of it.

use std::time::Duration;

use vsphere::{Client, Effect, Error};

use crate::fake::{COOKIE, Fake, Reply, ordinary};
use crate::{client, connect, credentials, on, target, vm};

/// Everything that is no answer, and which error it makes.
fn no_answers() -> Vec<(&'static str, Reply)> {
    let xml = "Content-Type: text/xml\r\n";
    vec![
        ("closed", Reply::Close),
        ("silent", Reply::Hang),
        (
            "cut off",
            Reply::http("200 OK", xml, "<e:Envelope xmlns:e=\"x\"><e:Body><Po", 50),
        ),
        (
            "truncated XML",
            Reply::http("200 OK", xml, "<e:Envelope xmlns:e=\"x\"><e:Body>", 0),
        ),
        ("empty", Reply::http("200 OK", xml, "", 0)),
        (
            "HTML",
            Reply::http(
                "200 OK",
                "Content-Type: text/html\r\n",
                "<html>Welcome</html>",
                0,
            ),
        ),
        (
            "503",
            Reply::http(
                "503 Service Unavailable",
                "Content-Type: text/plain\r\n",
                "full",
                0,
            ),
        ),
        (
            "500 without fault",
            Reply::http("500 Oops", xml, "<html/>", 0),
        ),
        (
            "redirect",
            Reply::http("302 Found", "Location: https://127.0.0.1:9/sdk\r\n", "", 0),
        ),
        (
            "another's answer",
            Reply::Soap("<LogoutResponse xmlns=\"urn:vim25\"/>".into()),
        ),
        ("no HTTP", Reply::Raw(b"\x00\x01garbage\r\n\r\n".to_vec())),
    ]
}

#[tokio::test]
async fn c3_the_session_is_spoken_as_the_server_wants_it() {
    let fake = Fake::but(|_| None).await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    assert_eq!(session.api_version(), "8.0.3.0");
    assert_eq!(session.user().user_name, "LAB\\user");
    session.current_time().await.unwrap();
    session.logout().await.unwrap();
    let methods: Vec<_> = fake.seen().into_iter().map(|s| s.method).collect();
    assert_eq!(
        methods,
        [
            "RetrieveServiceContent",
            "GET",
            "Login",
            "CurrentTime",
            "Logout"
        ]
    );
    let login = &fake.of("Login")[0];
    assert!(
        login.body.contains(
            "<password>canary-7f3a &lt;&amp;&gt; passwörd</password><locale>en_US</locale>"
        )
    );
    assert_eq!(login.header("SOAPAction"), Some("\"urn:vim25/8.0.3.0\""));
    for later in ["CurrentTime", "Logout"] {
        assert_eq!(fake.of(later)[0].header("Cookie"), Some(COOKIE));
    }
    let agent = fake.seen()[0].header("User-Agent").unwrap().to_owned();
    assert!(agent.starts_with("vmware-control/"), "{agent}");
}

#[tokio::test]
async fn c11_without_a_versions_file_the_server_is_taken_at_its_word() {
    let fake = Fake::but(on("GET", Reply::http("404 Not Found", "", "", 0))).await;
    let client = client();
    assert_eq!(
        connect(&client, &fake).await.unwrap().api_version(),
        "8.0.3.0"
    );
}

#[tokio::test]
async fn c11_whatever_is_no_answer_is_an_error_and_a_change_is_sent_once() {
    for (what, reply) in no_answers() {
        let fake = Fake::but(on("PowerOffVM_Task", reply)).await;
        let client = client();
        let session = connect(&client, &fake).await.unwrap();
        let error = session.power_off(&vm()).await.unwrap_err();
        assert_eq!(error.effect(), Effect::Unknown, "{what}: {error:?}");
        assert_eq!(fake.of("PowerOffVM_Task").len(), 1, "{what}: sent again");
        let fits = match what {
            "closed" | "cut off" | "no HTTP" => matches!(error, Error::Lost { .. }),
            "silent" => matches!(error, Error::Timeout { .. }),
            "503" => matches!(error, Error::Http { status: 503, .. }),
            "500 without fault" => matches!(error, Error::Http { status: 500, .. }),
            "redirect" => matches!(error, Error::Http { status: 302, .. }),
            _ => matches!(error, Error::Malformed { .. }),
        };
        assert!(fits, "{what}: {error:?}");
        session.logout().await.unwrap();
    }
}

#[tokio::test]
async fn c11_a_fault_says_that_nothing_happened() {
    let fault = Reply::Fault(
        "InvalidPowerState",
        "<requestedState>a</requestedState><existingState>b</existingState>",
    );
    let fake = Fake::but(on("PowerOffVM_Task", fault)).await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    let error = session.power_off(&vm()).await.unwrap_err();
    assert_eq!(error.effect(), Effect::None);
    assert!(error.is_fault("InvalidPowerState"));
    let fault = error.fault().unwrap();
    assert_eq!(
        (fault.message.as_str(), fault.field("existingState")),
        ("said the server", Some("b"))
    );
    session.logout().await.unwrap();
    // A call that acts by itself and only gave up waiting for the host is another thing.
    let fake = Fake::but(on("ShutdownGuest", Reply::Fault("HostCommunication", ""))).await;
    let session = connect(&client, &fake).await.unwrap();
    assert_eq!(
        session.shutdown_guest(&vm()).await.unwrap_err().effect(),
        Effect::Unknown
    );
}

#[tokio::test]
async fn c11_a_read_is_sent_again_once_if_the_connection_is_lost_before_an_answer() {
    let client = client();
    let fake =
        Fake::but(|s| (s.method == "CurrentTime" && s.nth == 0).then_some(Reply::Close)).await;
    let session = connect(&client, &fake).await.unwrap();
    assert!(session.current_time().await.is_ok());
    assert_eq!(fake.of("CurrentTime").len(), 2);

    for (what, reply) in no_answers() {
        let fake = Fake::but(on("CurrentTime", reply)).await;
        let session = connect(&client, &fake).await.unwrap();
        let error = session.current_time().await.unwrap_err();
        assert_eq!(error.effect(), Effect::None, "{what}");
        let times = if matches!(what, "closed" | "no HTTP") {
            2
        } else {
            1
        };
        assert_eq!(fake.of("CurrentTime").len(), times, "{what}");
    }
}

#[tokio::test]
async fn c3_a_lost_login_is_said_and_not_repeated() {
    for (what, reply) in no_answers() {
        let fake = Fake::but(on("Login", reply)).await;
        let client = client();
        let error = connect(&client, &fake).await.unwrap_err();
        assert_eq!(fake.of("Login").len(), 1, "{what}");
        let answered = matches!(what, "503" | "500 without fault" | "redirect");
        assert_eq!(
            error.session_possibly_left(),
            !answered,
            "{what}: {error:?}"
        );
        assert!(!format!("{error} {error:?}").contains("canary"), "{what}");
    }
    let fake = Fake::but(on("Login", Reply::Fault("InvalidLogin", ""))).await;
    let client = client();
    let error = connect(&client, &fake).await.unwrap_err();
    assert!(
        matches!(&error, Error::LoginRefused { message } if message == "said the server"),
        "{error:?}"
    );
    assert_eq!(fake.of("Login").len(), 1);
    assert!(fake.of("Logout").is_empty());
}

#[tokio::test]
async fn c3_a_login_goes_over_a_connection_that_nobody_has_closed_meanwhile() {
    // Nothing is wrong, and still: none of the connections from before is used for it.
    let fake = Fake::but(on("GET", Reply::Soap("<none/>".into()))).await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    session.current_time().await.unwrap();
    session.logout().await.unwrap();
    let on = |method| fake.of(method)[0].connection;
    for before in ["RetrieveServiceContent", "GET"] {
        assert_ne!(on("Login"), on(before), "{before}");
    }
    // What follows does not need another one.
    assert_eq!(on("CurrentTime"), on("Login"));
    assert_eq!(on("Logout"), on("Login"));
}

#[tokio::test]
async fn c11_the_file_of_versions_is_asked_for_again_if_the_connection_is_lost() {
    let fake = Fake::but(|s| (s.method == "GET" && s.nth == 0).then_some(Reply::Close)).await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    assert_eq!(session.api_version(), "8.0.3.0");
    assert_eq!(fake.of("GET").len(), 2);
}

#[tokio::test]
async fn c11_what_a_lost_connection_means_depends_on_what_was_under_way() {
    let fake = Fake::but(|s| {
        ["CurrentTime", "PowerOffVM_Task"]
            .contains(&s.method.as_str())
            .then_some(Reply::Close)
    })
    .await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    let read = session.current_time().await.unwrap_err().to_string();
    assert!(
        read.starts_with("Check the network, then try again: "),
        "{read}"
    );
    let change = session.power_off(&vm()).await.unwrap_err().to_string();
    assert!(
        change.starts_with("Check the network and look whether it happened: "),
        "{change}"
    );
    // Neither the address nor the manual of a library says anything to anyone.
    assert!(!read.contains("http") && !change.contains("http"), "{read}");
}

#[tokio::test]
async fn c3_a_login_whose_caller_is_gone_is_still_logged_out() {
    let fake = Fake::but(|seen| {
        let late = Duration::from_millis(300);
        (seen.method == "Login").then(|| Reply::Late(late, Box::new(ordinary(seen))))
    })
    .await;
    let client = client();
    let target = target(&client, &fake).await;
    let connecting = client.connect(target, credentials());
    let gave_up = async {
        while fake.of("Login").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = connecting => panic!("the login was not late"),
        () = gave_up => {}
    }
    assert_eq!(client.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(fake.of("Logout").len(), 1);
    assert_eq!(fake.of("Logout")[0].header("Cookie"), Some(COOKIE));
}

#[tokio::test]
async fn c3_a_login_cut_off_after_its_cookie_is_logged_out() {
    let head = format!("Content-Type: text/xml\r\nSet-Cookie: {COOKIE}\r\n");
    let fake = Fake::but(on("Login", Reply::http("200 OK", &head, "<e:Env", 100))).await;
    let client = client();
    let error = connect(&client, &fake).await.unwrap_err();
    assert!(error.session_possibly_left());
    assert_eq!(client.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(fake.of("Logout").len(), 1);
}

#[tokio::test]
async fn c3_a_logout_is_tried_again_and_its_failure_is_bounded() {
    let client = client();
    let fake = Fake::but(|s| (s.method == "Logout" && s.nth == 0).then_some(Reply::Close)).await;
    connect(&client, &fake)
        .await
        .unwrap()
        .logout()
        .await
        .unwrap();
    assert_eq!(fake.of("Logout").len(), 2);
    let out_of_order = [
        Reply::http("503 Service Unavailable", "", "", 0),
        Reply::http("200 OK", "Content-Type: text/html\r\n", "<html/>", 0),
        Reply::http("200 OK", "Content-Type: text/xml\r\n", "<e:E", 9),
        Reply::Hang,
    ];
    for reply in out_of_order {
        let fake = Fake::but(move |s| (s.method == "Logout" && s.nth == 0).then(|| reply.clone()));
        let fake = fake.await;
        let session = connect(&client, &fake).await.unwrap();
        session.logout().await.unwrap();
        assert_eq!(fake.of("Logout").len(), 2);
    }
    // The server's own word is not argued with.
    let fake = Fake::but(on("Logout", Reply::Fault("SystemError", ""))).await;
    let session = connect(&client, &fake).await.unwrap();
    assert!(session.logout().await.is_err());
    assert_eq!(fake.of("Logout").len(), 1);
    // The first try did it, its answer was lost: the second one is told so.
    let fake = Fake::but(|s| {
        (s.method == "Logout").then_some(match s.nth {
            0 => Reply::Close,
            _ => Reply::Fault("NotAuthenticated", ""),
        })
    })
    .await;
    connect(&client, &fake)
        .await
        .unwrap()
        .logout()
        .await
        .unwrap();

    let fake = Fake::but(on("Logout", Reply::Hang)).await;
    let done = client
        .with_session(
            target(&client, &fake).await,
            credentials(),
            |session| async move { session.current_time().await },
        )
        .await;
    assert!(done.is_ok(), "a failed logout changed the result");
    drop(connect(&client, &fake).await.unwrap());
    assert_eq!(
        client.drain(Duration::from_millis(10)).await,
        1,
        "the logout was not under way"
    );
    assert_eq!(
        client.drain(Duration::from_secs(5)).await,
        0,
        "the logout had no end"
    );
}

#[tokio::test]
async fn c10_an_answer_without_end_is_given_up() {
    let endless = "x".repeat((16 << 20) + 1);
    let fake = Fake::but(move |s| {
        (s.method == "CurrentTime")
            .then(|| Reply::http("200 OK", "Content-Type: text/xml\r\n", &endless, 0))
    })
    .await;
    let client = Client::default();
    let session = connect(&client, &fake).await.unwrap();
    assert!(matches!(
        session.current_time().await,
        Err(Error::TooLarge { .. })
    ));
}
