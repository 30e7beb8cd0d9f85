//! What a person does with the page.

use std::net::IpAddr;

use mimawari_drift::verdict::{Finding, FindingState, Verdict};
use mimawari_probes::observation::Severity;
use mimawari_targets::AddrRange;
use serde_json::json;

use super::browser::Browser;
use super::{full, page, samples};

/// Number that the page says it shows.
fn shown(b: &Browser) -> u64 {
    let text = b.eval("document.getElementById('mw-count').textContent");
    let text = text.as_str().expect("a sentence").trim_start_matches("All ");
    text.split(' ').next().expect("a number").replace(',', "").parse().unwrap_or(0)
}

fn ask(b: &Browser, q: &str) -> u64 {
    b.eval(&format!(
        "new Promise((done) => {{
           const f = document.querySelector('[name=q]');
           f.value = {q:?}; f.dispatchEvent(new Event('input', {{ bubbles: true }}));
           requestAnimationFrame(() => requestAnimationFrame(done));
         }})"
    ));
    shown(b)
}

fn count(v: &Verdict, test: impl Fn(&Finding) -> bool) -> u64 {
    v.findings.iter().filter(|f| test(f)).count() as u64
}

pub fn filter() {
    let d = tempfile::tempdir().expect("a folder");
    let b = Browser::start();
    let v = samples::generate_findings(3_000);
    b.open(&page(d.path(), "p", &v), "");
    let within = |range: &str, ip: IpAddr| range.parse::<AddrRange>().expect(range).contains(ip);
    let port = |f: &Finding, p: u16| f.port.is_some_and(|x| x.get() == p);
    assert_eq!(shown(&b), 3_000);
    type Test = Box<dyn Fn(&Finding) -> bool>;
    let cases: Vec<(&str, Test)> = vec![
        ("in:198.18.0.0/22", Box::new(move |f| within("198.18.0.0/22", f.ip))),
        ("in:198.51.100.7", Box::new(|f| f.ip.to_string() == "198.51.100.7")),
        ("in:2001:db8::/32", Box::new(|f| f.ip.is_ipv6())),
        ("in:0.0.0.0/0", Box::new(|f| f.ip.is_ipv4())),
        ("port:6379", Box::new(move |f| port(f, 6379))),
        ("port:6379,9200", Box::new(move |f| port(f, 6379) || port(f, 9200))),
        ("port:1-100", Box::new(|f| f.port.is_some_and(|p| p.get() <= 100))),
        ("state:unverified", Box::new(|f| f.state == FindingState::Unverified)),
        (
            "state:unverified state:missing",
            Box::new(|f| matches!(f.state, FindingState::Unverified | FindingState::Missing)),
        ),
        ("-severity:high", Box::new(|f| f.severity != Severity::High)),
        ("kind:exposed-content", Box::new(|f| f.kind.as_str() == "exposed-content")),
        ("owner:@corp/data", Box::new(|f| f.owner.as_deref() == Some("@corp/data"))),
        ("owner:none", Box::new(|f| f.owner.is_none())),
        ("is:new port:9200", Box::new(move |f| f.new && port(f, 9200))),
        ("PASSWORD.php", Box::new(|f| f.path.as_deref() == Some("/password.php"))),
        (
            "198.18.0.1:6379",
            Box::new(|f| {
                f.ip.to_string().starts_with("198.18.0.1") && f.ip.to_string().len() == 10
            }),
        ),
        ("no such thing", Box::new(|_| false)),
    ];
    for (q, test) in cases {
        let expected = count(&v, test);
        assert_eq!(ask(&b, q), expected, "{q}");
        assert!(expected > 0 || q == "no such thing", "{q} proves nothing");
        assert_eq!(b.eval("document.getElementById('mw-none').hidden"), expected > 0, "{q}");
    }
    // What cannot be read lets nothing through, and says so.
    for bad in
        ["in:300.1.1.1/8", "in:198.18.0.0/33", "port:http", "state:opne", "is:odd", "group:x"]
    {
        assert_eq!(ask(&b, bad), 0, "{bad}");
        let said = b.eval("document.getElementById('mw-count').textContent");
        assert_eq!(said, format!("Not understood: {bad}"));
    }
    assert_eq!(ask(&b, ""), 3_000);
    // A field is a way to write the line.
    b.eval("{ const f = document.querySelector('[name=state]'); f.value = 'unverified'; f.dispatchEvent(new Event('change')); }");
    assert_eq!(shown(&b), count(&v, |f| f.state == FindingState::Unverified));
    assert_eq!(b.eval("document.querySelector('[name=q]').value"), "state:unverified");
    assert_eq!(b.complaints(), [""; 0]);
}

pub fn fragment() {
    let d = tempfile::tempdir().expect("a folder");
    let b = Browser::start();
    let v = samples::generate_findings(3_000);
    let file = page(d.path(), "p", &v);
    b.open(&file, "#q=in:198.18.0.0/22+port:6379&view=list&page=2");
    let n = count(&v, |f| {
        let range: AddrRange = "198.18.0.0/22".parse().expect("a range");
        range.contains(f.ip) && f.port.is_some_and(|p| p.get() == 6379)
    });
    assert_eq!(shown(&b), n);
    assert_eq!(
        b.eval("document.querySelector('.pager span').textContent"),
        format!("101–200 of {},{:03}", n / 1_000, n % 1_000)
    );
    assert_eq!(b.eval("document.querySelectorAll('#mw-app tbody tr').length"), 100);
    ask(&b, "redis is:new");
    assert_eq!(b.eval("location.hash"), "#q=redis+is:new&view=list");
    ask(&b, "");
    assert_eq!(b.eval("location.hash"), "#view=list");
    // A link in the page sets the filter, too.
    b.eval(
        "document.querySelector('.lead a').click(), new Promise((done) => setTimeout(done, 50))",
    );
    assert_eq!(b.eval("document.querySelector('[name=q]').value"), "group:1");
    assert!(shown(&b) >= 500);
    assert_eq!(b.complaints(), [""; 0]);
}

pub fn deep_link() {
    let d = tempfile::tempdir().expect("a folder");
    let b = Browser::start();
    let v = samples::generate_findings(3_000);
    let file = page(d.path(), "p", &v);
    let open = |b: &Browser, id: &str| {
        let state = b.eval(&format!(
            "(() => {{ const r = document.getElementById('f-{id}');
               const box = r?.getBoundingClientRect();
               return [!!r?.querySelector('details').open, !!r?.contains(document.activeElement),
                 !!box && box.top >= 0 && box.top < innerHeight, r?.querySelectorAll('dd').length > 3]; }})()"
        ));
        assert_eq!(state, json!([true, true, true, true]), "{id}");
    };
    for f in [&v.findings[0], &v.findings[1_500], &v.findings[2_999]] {
        // On arrival; in the other view; from a filter that hides it.
        b.open(&file, &format!("#f-{}", f.id));
        b.frame();
        open(&b, &f.id);
        b.open(&file, "#q=no-such-thing&view=list");
        assert_eq!(shown(&b), 0);
        b.eval(&format!(
            "location.hash = '#f-{}'; new Promise((done) => setTimeout(done, 50))",
            f.id
        ));
        open(&b, &f.id);
        assert_eq!(shown(&b), 3_000);
    }
    b.open(&file, "#f-0123456789abcdef");
    let said = b.eval("document.getElementById('mw-count').textContent");
    assert_eq!(said, "The finding of this link is not in this report.");
    assert_eq!(b.complaints(), [""; 0]);
}

pub fn keys() {
    let d = tempfile::tempdir().expect("a folder");
    let b = Browser::start();
    b.open(&page(d.path(), "p", &full(samples::drift())), "");
    let focus = |what: &str| b.eval(&format!("document.activeElement.{what}"));
    b.key("Tab");
    assert_eq!(focus("className"), "skip");
    b.key("j");
    let first = focus("hash");
    assert!(first.as_str().is_some_and(|h| h.starts_with("#f-")), "{first}");
    b.key("j");
    assert_ne!(focus("hash"), first);
    b.key("k");
    assert_eq!(focus("hash"), first);
    b.key("Enter");
    b.eval("new Promise((done) => setTimeout(done, 50))");
    assert_eq!(focus("closest('tr').querySelector('details').open"), true);
    b.key("Escape");
    assert_eq!(focus("closest('tr').querySelector('details').open"), false);
    b.key("/");
    assert_eq!(focus("name"), "q");
    for c in ["r", "e", "d", "i", "s"] {
        b.key(c);
    }
    b.frame();
    assert_eq!(shown(&b), 1);
    b.key("Escape");
    assert_eq!(shown(&b), 12);
    // Tab comes out of everything: it ends at the end of the page.
    let stops = b.eval("document.querySelectorAll('a[href], button:enabled, input, select, summary, [tabindex=\"0\"]').length");
    let mut met = std::collections::BTreeSet::new();
    for _ in 0..stops.as_u64().expect("a number") + 2 {
        b.key("Tab");
        let at = b.eval("[...document.querySelectorAll('*')].indexOf(document.activeElement)");
        met.insert(at.as_i64().expect("a place"));
    }
    assert!(met.len() > 30, "{}", met.len());
    let last = b.eval("[...document.querySelectorAll('*')].indexOf([...document.querySelectorAll('summary')].filter((e) => e.checkVisibility()).pop())");
    assert!(met.contains(&last.as_i64().expect("a place")));
    assert_eq!(b.complaints(), [""; 0]);
}

pub fn map() {
    let d = tempfile::tempdir().expect("a folder");
    let b = Browser::start();
    b.open(&page(d.path(), "p", &full(samples::generate_findings(3_000))), "#view=list");
    b.eval("document.querySelector('.map svg').scrollIntoView({ block: 'center' })");
    let at = b.eval("(() => { const r = document.querySelector('.map svg').getBoundingClientRect(); return [r.x, r.y, r.width]; })()");
    let side = |n: usize| at[n].as_f64().expect("a number");
    // Cells 0 to 3 of the curve are the corner square; 1 is beside 0, 2 under 1.
    let cell = side(2) / 16.0;
    let said = "document.querySelector('.said').textContent";
    b.pointer(side(0) + cell * 1.5, side(1) + cell * 0.5, false);
    assert_eq!(b.eval(said), "198.51.100.1 2 allowed");
    b.pointer(side(0) + cell * 15.5, side(1) + cell * 0.5, false);
    assert_eq!(b.eval(said), "198.51.100.255 nothing seen");
    b.pointer(side(0) + cell * 1.5, side(1) + cell * 1.5, true);
    assert_eq!(b.eval("document.querySelector('[name=q]').value"), "in:198.51.100.2");
    assert_eq!(b.eval("location.hash"), "#q=in:198.51.100.2&view=list");
    // By keys: the second map; n goes to a cell that is not empty.
    b.eval("document.querySelectorAll('.map svg')[1].focus()");
    for key in ["n", "n", "ArrowRight"] {
        b.key(key);
    }
    let said = b.eval("document.querySelectorAll('.said b')[0].textContent");
    assert!(said.as_str().is_some_and(|s| s.ends_with("/27")), "{said}");
    b.key("Enter");
    let q = b.eval("document.querySelector('[name=q]').value");
    assert_eq!(q, format!("in:{}", said.as_str().expect("a CIDR")));
    // The drawing and the list agree on every cell.
    let agree = b.eval(
        "[...document.querySelectorAll('.map')].every((f, n) => {
           const all = new Set(data.maps[n].marks.map((m) => cellOf(data.maps[n], m[0])));
           return [...f.querySelectorAll('tbody th')].every((th) => all.has(th.textContent.trim()));
         })",
    );
    assert_eq!(agree, true);
    assert_eq!(b.complaints(), [""; 0]);
}

pub fn groups() {
    let d = tempfile::tempdir().expect("a folder");
    let b = Browser::start();
    b.open(&page(d.path(), "p", &samples::generate_findings(3_000)), "");
    let heads = b.eval("document.querySelectorAll('button.head').length").as_u64();
    assert!(heads > Some(5), "{heads:?}");
    assert_eq!(b.eval("document.querySelectorAll('#mw-app tr').length"), 0);
    b.eval("document.querySelector('button.head').click()");
    assert_eq!(
        b.eval("document.querySelector('button.head').getAttribute('aria-expanded')"),
        "true"
    );
    assert_eq!(b.eval("document.querySelectorAll('#mw-app tbody tr').length"), 100);
    b.eval("document.querySelector('.inside [data-to=Next]').click()");
    let said = b.eval("document.querySelector('.inside .pager span').textContent");
    assert!(said.as_str().is_some_and(|s| s.starts_with("101–200 of ")), "{said}");
    assert_eq!(b.eval("document.activeElement.textContent"), "Next");
    b.eval("document.querySelector('button.head').click()");
    assert_eq!(b.eval("document.querySelectorAll('#mw-app tr').length"), 0);
    // The parts of the whole.
    let sum = b.eval(
        "[...document.querySelectorAll('button.head .n')].reduce((n, e) => n + Number(e.textContent.replaceAll(',', '')), 0)",
    );
    assert_eq!(sum, 3_000);
    assert_eq!(b.complaints(), [""; 0]);
}

pub fn theme() {
    let d = tempfile::tempdir().expect("a folder");
    let b = Browser::start();
    b.open(&page(d.path(), "p", &samples::drift()), "");
    let ground = || b.eval("getComputedStyle(document.body).backgroundColor");
    let light = ground();
    let press = "document.getElementById('mw-theme').click()";
    b.eval(press);
    assert_eq!(
        (ground(), b.eval("document.getElementById('mw-theme').textContent")),
        (light.clone(), json!("Theme: light"))
    );
    b.eval(press);
    let dark = ground();
    assert_ne!(dark, light);
    b.eval(press);
    assert_eq!(ground(), light);
    let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    b.call("Emulation.setEmulatedMedia", media);
    assert_eq!(ground(), dark);
    assert_eq!(b.complaints(), [""; 0]);
}
