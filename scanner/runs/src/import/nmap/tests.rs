use super::super::kept::ImportedRecord;
use super::*;

fn seen(text: &str) -> Result<(ImportedFacts, Vec<String>)> {
    let mut kept = ImportedRecord::default();
    Ok((read(text.as_bytes(), "n.xml", &mut kept)?, kept.0))
}

fn file(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE nmaprun>\n<nmaprun scanner=\"nmap\" start=\"100\">\n\
         <scaninfo type=\"syn\" protocol=\"tcp\" numservices=\"4\" services=\"22-24,80\"/>\n{body}"
    )
}

const END: &str = "<runstats><finished time=\"200\" exit=\"success\"/></runstats></nmaprun>\n";

fn host(ports: &str) -> String {
    format!(
        "<host endtime=\"150\"><status state=\"up\"/>\n<address addr=\"198.19.0.5\" addrtype=\"ipv4\"/>\n\
         <address addr=\"02:00:00:00:00:01\" addrtype=\"mac\"/>\n<ports>{ports}</ports></host>\n"
    )
}

fn port(number: &str, state: &str, reason: &str) -> String {
    format!(
        "<port protocol=\"tcp\" portid=\"{number}\"><state state=\"{state}\" reason=\"{reason}\" reason_ttl=\"64\"/></port>"
    )
}

#[test]
fn each_word_of_nmap_is_a_state_or_nothing() {
    for (state, reason, expected) in [
        ("open", "syn-ack", Some("Open")),
        ("closed", "reset", Some("Closed")),
        ("closed", "conn-refused", Some("Closed")),
        ("filtered", "no-response", Some("Silent")),
        ("filtered", "admin-prohibited", Some("Prohibited")),
        ("filtered", "host-unreach", None),
        ("filtered", "port-unreach", None),
        ("open|filtered", "no-response", None),
        ("unfiltered", "reset", None),
        ("", "", None),
    ] {
        let (_, got) = seen(&file(&(host(&port("22", state, reason)) + END))).unwrap();
        let expected: Vec<String> = expected.iter().map(|s| format!("198.19.0.5 22 {s}")).collect();
        assert_eq!(got, expected, "{state} {reason}");
    }
}

#[test]
fn counted_ports_are_those_that_are_named() {
    let extra = "<extraports state=\"closed\" count=\"5\"><extrareasons reason=\"reset\" count=\"3\" proto=\"tcp\" ports=\"22-23,80\"/>\
                 <extrareasons reason=\"resets\" count=\"2\"/></extraports>";
    let (told, got) = seen(&file(&(host(extra) + END))).unwrap();
    assert_eq!(got, ["198.19.0.5 22-23,80 Closed"]);
    assert_eq!(told.gaps, [Gap::PortsWithoutNumbers { groups: 1 }]);
    assert_eq!(told.cut_off, None);
    assert_eq!(told.services.unwrap().to_string(), "22-24,80");
    assert_eq!((told.started.unwrap().as_second(), told.ended.unwrap().as_second()), (100, 200));
}

/// Before 7.92 nmap wrote no numbers.
#[test]
fn the_only_counted_group_is_known_if_it_is_all_that_is_left() {
    let open = port("22", "open", "syn-ack");
    let group = |count: u32, reason: &str| {
        format!(
            "<extraports state=\"closed\" count=\"{count}\"><extrareasons reason=\"{reason}\" count=\"{count}\"/></extraports>"
        )
    };
    let unknown = [Gap::PortsWithoutNumbers { groups: 1 }];
    let all = ["198.19.0.5 22 Open", "198.19.0.5 23-24,80 Closed"];
    for (body, expected, gaps) in [
        // Before the named ports, as nmap writes it, or behind them.
        (
            group(3, "resets") + &open,
            &["198.19.0.5 22 Open", "198.19.0.5 23-24,80 Closed"][..],
            &[][..],
        ),
        (open.clone() + &group(3, "resets"), &all, &[]),
        // All of them.
        (group(4, "resets"), &["198.19.0.5 22-24,80 Closed"], &[]),
        // The count is another one: which ports it means is not known.
        (group(2, "resets") + &open, &all[..1], &unknown),
        (group(4, "resets") + &open, &all[..1], &unknown),
        (group(3, "resets") + &port("443", "open", "syn-ack"), &["198.19.0.5 443 Open"], &unknown),
        // Two groups.
        (
            group(2, "resets") + &group(1, "conn-refused") + &open,
            &all[..1],
            &[Gap::PortsWithoutNumbers { groups: 2 }],
        ),
        // A reason that is no state.
        (
            group(3, "host-unreaches").replace("closed", "filtered") + &open,
            &all[..1],
            &[Gap::PortsUnclear { ports: 3 }],
        ),
        (
            group(3, "no-responses").replace("closed", "filtered") + &open,
            &[all[0], "198.19.0.5 23-24,80 Silent"],
            &[],
        ),
    ] {
        let (told, got) = seen(&file(&(host(&body) + END))).unwrap();
        assert_eq!(got, expected, "{body}");
        assert_eq!(told.gaps, gaps, "{body}");
    }
    // With UDP the count is of both protocols; a host that is down has no ports.
    let udp = "<scaninfo type=\"udp\" protocol=\"udp\" numservices=\"1\" services=\"53\"/>";
    let both = file(&(udp.to_owned() + &host(&(group(3, "resets") + &open)) + END));
    assert_eq!(seen(&both).unwrap().1, all[..1]);
    let down = host(&group(4, "resets")).replace("\"up\"", "\"down\"");
    assert_eq!(seen(&file(&(down + END))).unwrap().1, [""; 0]);
    // The next host begins anew.
    let two = host(&(group(3, "resets") + &open)) + &host(&port("80", "open", "syn-ack"));
    assert_eq!(seen(&file(&(two + END))).unwrap().1.len(), 3);
}

#[test]
fn a_host_that_is_down_and_a_hint_tell_nothing() {
    let down = host(&port("22", "open", "syn-ack")).replace("\"up\"", "\"down\"");
    let hint = host(&port("22", "open", "syn-ack")).replace("host", "hosthint");
    assert_eq!(seen(&file(&(down + &hint + END))).unwrap().1, [""; 0]);
}

#[test]
fn a_service_is_taken_over_only_if_it_was_spoken_to() {
    let guess = port("22", "open", "syn-ack")
        .replace("</port>", "<service name=\"ssh\" method=\"table\" conf=\"3\"/></port>");
    assert_eq!(seen(&file(&(host(&guess) + END))).unwrap().1, ["198.19.0.5 22 Open"]);
    let probed = port("22", "open", "syn-ack").replace(
        "</port>",
        "<service name=\"http\" tunnel=\"ssl\" product=\"a&amp;b &lt;x&gt;&#x202e;\" version=\"1\" method=\"probed\"/></port>",
    );
    assert_eq!(
        seen(&file(&(host(&probed) + END))).unwrap().1,
        ["198.19.0.5 22 Open connected https: a&b <x> 1"]
    );
    let connect =
        file(&(host(&port("22", "open", "syn-ack")) + END)).replace("\"syn\"", "\"connect\"");
    assert_eq!(seen(&connect).unwrap().1, ["198.19.0.5 22 Open connected"]);
}

#[test]
fn any_cut_is_told_and_claims_no_more_than_the_whole() {
    let text =
        file(&(host(&(port("22", "open", "syn-ack") + &port("80", "closed", "reset"))) + END));
    let (_, whole) = seen(&text).unwrap();
    assert_eq!(whole.len(), 2);
    let finished = text.find("exit=\"success\"/>").unwrap() + "exit=\"success\"/>".len();
    for end in text.find("<nmaprun").unwrap() + 40..text.len() {
        let (told, got) = seen(&text[..end]).unwrap_or_else(|e| panic!("{end}: {e}"));
        assert!(whole.starts_with(&got), "{end}: {got:?}");
        assert_eq!(told.cut_off.is_none(), end >= finished, "{end}");
    }
}

#[test]
fn an_error_of_nmap_makes_it_incomplete() {
    let text = file(END).replace("exit=\"success\"", "exit=\"error\" errormsg=\"no route\"");
    let cut_off = seen(&text).unwrap().0.cut_off;
    let (end, reason) = (ImportEnd::ScanError, Some("no route".to_owned()));
    assert_eq!(cut_off, Some(Gap::ImportCutOff { end, reason }));
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (text, what) in [
        (file(&host(&port("66000", "open", ""))), "line 8: `66000` is no port number"),
        (file(&host("").replace("198.19.0.5", "x")), "line 6: `x` is no IP address"),
        (file("<host endtime=\"-\">"), "line 5: `-` is no time in seconds since 1970"),
        (file("").replace("22-24", "24-22"), "line 4: `24-22` is no list of ports"),
        (file("").replace("\"syn\"", "\"ack\""), "line 4: a scan of type `ack`"),
        (file("</nmaprun><nmaprun/>"), "line 5: a second <nmaprun>"),
        (file("</host>"), "line 5: "),
        ("<html></html>".to_owned(), "line 1: <html> where <nmaprun> was to come"),
        (String::new(), "line 1: there is no <nmaprun>"),
        (file(&"<a>".repeat(100)), "line 5: the elements are nested too deeply"),
        (file("<host comment=\"&evil;\" endtime=\"&evil;\">"), "line 5: "),
    ] {
        let e = seen(&text).expect_err(&text).to_string();
        assert!(e.starts_with("n.xml, ") && e.contains(what), "{e}");
    }
}

#[test]
fn no_entity_is_expanded_and_nothing_long_is_held() {
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE nmaprun [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]>\n\
                <nmaprun scanner=\"nmap\" start=\"&b;\">";
    assert!(seen(bomb).is_err());
    // A tag of 20 MiB, from a reader that would never end.
    let head: &[u8] = b"<nmaprun scanner=\"nmap\"><output a=\"";
    let endless = std::io::BufReader::new(std::io::Read::chain(head, std::io::repeat(b'x')));
    let e = read(endless, "n.xml", &mut ImportedRecord::default()).unwrap_err().to_string();
    assert!(e.contains("longer than"), "{e}");
}

#[test]
fn masscan_imitates_nmap_and_lists_answers_only() {
    let text = "<?xml version=\"1.0\"?>\n<nmaprun scanner=\"masscan\" start=\"1795522438\">\n<scaninfo type=\"syn\" protocol=\"tcp\" />\n\
         <host endtime=\"1795522438\"><address addr=\"198.19.0.5\" addrtype=\"ipv4\"/><ports><port protocol=\"tcp\" portid=\"80\"><state state=\"open\" reason=\"syn-ack\" reason_ttl=\"64\"/></port></ports></host>\n\
         <runstats>\n<finished time=\"1795522444\" elapsed=\"6\" />\n</runstats>\n</nmaprun>";
    let (told, got) = seen(text).unwrap();
    assert_eq!(got, ["198.19.0.5 80 Open"]);
    assert_eq!(
        (told.lists_answers_only, told.services, told.cut_off),
        (Some("masscan"), None, None)
    );
}
