//! OTLP and syslog: a collector that reads OTLP's JSON strictly, and receivers of RFC 5424.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, UdpSocket};

use mimawari_notify::DeliveryEnd;
use mimawari_tests::fake::{CannedReply, Received, Receiver};
use serde_json::{Value, json};

use super::{Desk, fault, notifiers, three};

/// The JSON mapping of OTLP: names in camelCase, 64-bit numbers as text, enums as numbers.
fn judge_otlp(r: &Received) -> CannedReply {
    if r.header("content-type") != "application/json" || r.header("api-key") != "not-a-real-api-key"
    {
        return CannedReply::status(401, "{}");
    }
    let m = r.json();
    let nanos = |v: &Value| v.as_str().is_some_and(|s| s.len() == 19 && s.parse::<u64>().is_ok());
    let attributes = |v: &Value| {
        v.as_array().is_some_and(|all| {
            all.iter().all(|a| {
                let value = a["value"].as_object();
                a["key"].is_string()
                    && value.is_some_and(|v| {
                        v.len() == 1
                            && v.iter().all(|(kind, v)| match kind.as_str() {
                                "stringValue" => v.is_string(),
                                "boolValue" => v.is_boolean(),
                                "intValue" => v.as_str().is_some_and(|s| s.parse::<i64>().is_ok()),
                                "doubleValue" => v.is_number(),
                                _ => false,
                            })
                    })
            })
        })
    };
    let fine = match r.target.as_str() {
        "/v1/logs" => {
            let scope = &m["resourceLogs"][0]["scopeLogs"][0];
            attributes(&m["resourceLogs"][0]["resource"]["attributes"])
                && scope["logRecords"].as_array().is_some_and(|all| {
                    !all.is_empty()
                        && all.iter().all(|l| {
                            nanos(&l["timeUnixNano"])
                                && l["severityNumber"]
                                    .as_u64()
                                    .is_some_and(|n| (1..=24).contains(&n))
                                && l["body"]["stringValue"].is_string()
                                && attributes(&l["attributes"])
                        })
                })
        }
        "/v1/metrics" => {
            let scope = &m["resourceMetrics"][0]["scopeMetrics"][0];
            scope["metrics"].as_array().is_some_and(|all| {
                all.len() > 8
                    && all.iter().all(|metric| {
                        metric["name"].as_str().is_some_and(|n| n.starts_with("mimawari."))
                            && metric["gauge"]["dataPoints"].as_array().is_some_and(|points| {
                                points.iter().all(|p| {
                                    nanos(&p["timeUnixNano"])
                                        && p["asDouble"].is_number()
                                        && attributes(&p["attributes"])
                                })
                            })
                    })
            })
        }
        _ => return CannedReply::status(404, ""),
    };
    if fine {
        CannedReply::status(200, "{\"partialSuccess\":{}}")
    } else {
        CannedReply::status(400, "{}")
    }
}

#[tokio::test]
async fn a_collector_takes_logs_and_metrics() {
    let receiver = Receiver::start(judge_otlp).expect("a receiver");
    let at = receiver.address();
    let table = format!(
        "[[notify]]\nkind = \"otlp-logs\"\nendpoint = \"http://{at}\"\nheaders_env = \"H\"\n\
         [[notify]]\nkind = \"otlp-metrics\"\nendpoint = \"http://{at}/\"\nheaders_env = \"H\"\n"
    );
    let env = [("H", "api-key=not-a-real-api-key".to_owned())];
    let (desk, n) = (Desk::new(), notifiers(&table, &env));
    let out = desk.deliver(&n, &three()).await;
    assert!(out.iter().all(|o| o.end == DeliveryEnd::Sent(1)), "{out:?}");
    let logs = receiver.seen()[0].json();
    let records =
        logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().expect("records").clone();
    assert_eq!(records.len(), 4);
    assert_eq!(
        (&records[0]["severityText"], &records[3]["severityText"]),
        (&json!("ERROR"), &json!("INFO"))
    );
    let key = json!({"key": "mimawari.key", "value": {"stringValue": "0000000000000001-1"}});
    assert!(
        records[0]["attributes"].as_array().expect("attributes").contains(&key),
        "{}",
        records[0]
    );
    assert!(!format!("{n:?}").contains("not-a-real-api-key"));
}

#[tokio::test]
async fn what_a_collector_rejects_in_part_is_not_called_delivered() {
    let receiver = Receiver::start(|_| {
        CannedReply::status(
            200,
            "{\"partialSuccess\":{\"rejectedLogRecords\":\"2\",\"errorMessage\":\"too old\"}}",
        )
    })
    .expect("a receiver");
    let table =
        format!("[[notify]]\nkind = \"otlp-logs\"\nendpoint = \"http://{}\"\n", receiver.address());
    let (why, _) = fault(&Desk::new().deliver(&notifiers(&table, &[]), &three()).await);
    assert_eq!(why, "2 records were rejected: too old");
}

/// The parts of a message by RFC 5424, section 6.
fn parse_syslog(message: &str) -> (u32, Vec<String>, Value) {
    let rest = message.strip_prefix('<').expect("a priority");
    let (priority, rest) = rest.split_once('>').expect("its end");
    let mut words = rest.splitn(8, ' ');
    let head: Vec<String> = words.by_ref().take(7).map(str::to_owned).collect();
    assert_eq!(head[0], "1", "the version: {message}");
    head[1].parse::<jiff::Timestamp>().expect("a time");
    assert_eq!((head[3].as_str(), head[6].as_str()), ("mimawari", "-"), "{message}");
    assert!(head.iter().all(|h| !h.is_empty() && h.bytes().all(|b| b.is_ascii_graphic())));
    let text = words.next().expect("a message").strip_prefix('\u{feff}').expect("UTF-8");
    (priority.parse().expect("a number"), head, serde_json::from_str(text).expect("JSON"))
}

#[tokio::test]
async fn syslog_over_udp_is_a_datagram_a_message() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let table = format!(
        "[[notify]]\nkind = \"syslog\"\naddress = \"udp://{}\"\nfacility = \"auth\"\n",
        socket.local_addr().expect("it")
    );
    let (desk, n) = (Desk::new(), notifiers(&table, &[]));
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent(1));
    let mut buffer = vec![0; 65_536];
    for expected in ["change", "change", "change", "run"] {
        let length = socket.recv(&mut buffer).expect("a message");
        let message = std::str::from_utf8(&buffer[..length]).expect("UTF-8");
        let (priority, head, event) = parse_syslog(message);
        assert_eq!((head[5].as_str(), event["event"].as_str()), (expected, Some(expected)));
        // Facility auth is 4; a high finding is an error, a run is informational.
        assert_eq!(priority, if expected == "run" { 4 * 8 + 6 } else { 4 * 8 + 3 });
    }
}

#[tokio::test]
async fn syslog_over_tcp_counts_octets() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("it");
    let reader = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream);
        let mut all = Vec::new();
        loop {
            let mut length = Vec::new();
            if reader.read_until(b' ', &mut length).expect("a length") == 0 {
                return all;
            }
            let length: usize =
                std::str::from_utf8(&length).expect("digits").trim().parse().expect("a number");
            let mut message = vec![0; length];
            reader.read_exact(&mut message).expect("a message");
            all.push(String::from_utf8(message).expect("UTF-8"));
        }
    });
    let table = format!("[[notify]]\nkind = \"syslog\"\naddress = \"tcp://{at}\"\n");
    let (desk, n) = (Desk::new(), notifiers(&table, &[]));
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent(1));
    let all = reader.join().expect("the messages");
    assert_eq!(all.len(), 4);
    for message in &all {
        parse_syslog(message);
    }
    // Nobody listens any more: it waits.
    let mut again = three();
    again.run_id = "20260801T020000Z-7f3a".to_owned();
    let (why, doubtful) = fault(&desk.deliver(&n, &again).await);
    assert!(why.starts_with("no connection") && !doubtful, "{why}");
}
