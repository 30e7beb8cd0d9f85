//! Mail: a server that holds to RFC 5321 and says what it took.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use mimawari_notify::DeliveryEnd;

use super::{Desk, fault, notifiers, three};

/// A mail as it was taken.
#[derive(Debug, Clone)]
struct TakenMail {
    from: String,
    to: Vec<String>,
    data: String,
}

/// How a session goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MailFault {
    /// 450 to the recipient.
    Greylist,
    /// 554 after the data.
    Refuse,
    /// The mail is taken, and the connection closed before the answer.
    LostAnswer,
}

struct MailServer {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<TakenMail>>>,
}

impl MailServer {
    fn start(mut faults: Vec<MailFault>) -> Self {
        faults.reverse();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it");
        let taken = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let fault = faults.pop();
                let _ = serve(stream, fault, &own);
            }
        });
        Self { address, taken }
    }

    fn taken(&self) -> Vec<TakenMail> {
        self.taken.lock().expect("it").clone()
    }

    fn table(&self) -> String {
        format!(
            "[[notify]]\nkind = \"email\"\nserver = \"{}\"\ntls = \"none\"\nfrom = \"mimawari@scan.example.jp\"\n\
             to = [\"Team <team@example.jp>\", \"night@example.jp\"]\n",
            self.address
        )
    }
}

fn serve(
    stream: TcpStream,
    fault: Option<MailFault>,
    taken: &Mutex<Vec<TakenMail>>,
) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut say = |text: &str| out.write_all(format!("{text}\r\n").as_bytes());
    say("220 mx.example.jp ESMTP")?;
    let mut mail = TakenMail { from: String::new(), to: Vec::new(), data: String::new() };
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        assert!(
            line.ends_with("\r\n") && line.len() <= 512,
            "RFC 5321, section 4.5.3.1.4: {line:?}"
        );
        let line = line.trim_end();
        if line.starts_with("EHLO ") {
            say("250-mx.example.jp")?;
            say("250-8BITMIME")?;
            say("250 PIPELINING")?;
        } else if let Some(from) = line.strip_prefix("MAIL FROM:<") {
            mail.from = from.split('>').next().unwrap_or_default().to_owned();
            say("250 ok")?;
        } else if let Some(to) = line.strip_prefix("RCPT TO:<") {
            if fault == Some(MailFault::Greylist) {
                say("450 4.2.0 try again later")?;
            } else {
                mail.to.push(to.split('>').next().unwrap_or_default().to_owned());
                say("250 ok")?;
            }
        } else if line == "DATA" {
            say("354 end with .")?;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                assert!(
                    line.ends_with("\r\n") && line.len() <= 1_000,
                    "section 4.5.3.1.6: {line:?}"
                );
                if line == ".\r\n" {
                    break;
                }
                mail.data.push_str(line.strip_prefix('.').unwrap_or(&line));
            }
            if fault == Some(MailFault::Refuse) {
                say("554 5.7.1 refused by policy")?;
                continue;
            }
            taken.lock().expect("it").push(mail.clone());
            if fault == Some(MailFault::LostAnswer) {
                return Ok(());
            }
            say("250 queued")?;
        } else if line == "QUIT" {
            say("221 bye")?;
            return Ok(());
        } else if line == "RSET" || line == "NOOP" {
            say("250 ok")?;
        } else {
            say("500 what")?;
        }
    }
}

#[tokio::test]
async fn a_mail_for_all_recipients_in_plain_text() {
    let server = MailServer::start(Vec::new());
    let (desk, n) = (Desk::new(), notifiers(&server.table(), &[]));
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent(1));
    let mail = &server.taken()[0];
    assert_eq!(mail.from, "mimawari@scan.example.jp");
    assert_eq!(mail.to, ["team@example.jp", "night@example.jp"]);
    for header in [
        "Subject: mimawari: 3 new\r\n",
        "From: mimawari@scan.example.jp\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "Message-ID: <20260801T010000Z-7f3a-",
        "MIME-Version: 1.0\r\n",
        "Date: ",
    ] {
        assert!(mail.data.contains(header), "{header}: {}", mail.data);
    }
    assert!(mail.data.contains("198.51.100.2"), "{}", mail.data);
}

#[tokio::test]
async fn a_greylisted_mail_waits_and_a_lost_answer_repeats_the_same_message_id() {
    let server = MailServer::start(vec![MailFault::Greylist, MailFault::LostAnswer]);
    let (desk, n) = (Desk::new(), notifiers(&server.table(), &[]));
    let (why, doubtful) = fault(&desk.deliver(&n, &three()).await);
    assert!(why.contains("450") && !doubtful, "{why}");
    let (why, doubtful) = fault(&desk.deliver(&n, &three()).await);
    assert!(doubtful, "{why}");
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent(1));
    let ids: Vec<String> = server
        .taken()
        .iter()
        .map(|m| m.data.lines().find(|l| l.starts_with("Message-ID:")).expect("an id").to_owned())
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    assert!(server.taken()[1].data.contains("may have arrived"), "{:?}", server.taken()[1]);
}

#[tokio::test]
async fn a_mail_that_is_refused_for_its_content_is_set_aside() {
    let server = MailServer::start(vec![MailFault::Refuse; 3]);
    let (desk, n) = (Desk::new(), notifiers(&server.table(), &[]));
    for _ in 0..2 {
        fault(&desk.deliver(&n, &three()).await);
    }
    desk.deliver(&n, &three()).await;
    assert_eq!(desk.refused("email").len(), 1);
    assert!(server.taken().is_empty());
}
