//! Nothing goes wrong, and nothing that a host said runs.

use serde_json::json;

use super::browser::Browser;
use super::{full, page, samples};

pub fn quiet() {
    let d = tempfile::tempdir().expect("a folder");
    let b = Browser::start();
    let list = samples::all().into_iter().map(full).chain(samples::all());
    for (n, v) in list.chain([samples::generate_findings(3_000)]).enumerate() {
        let file = page(d.path(), &n.to_string(), &v);
        b.open(&file, "");
        assert_eq!(b.eval("document.documentElement.dataset.ready"), "", "page {n}");
        assert_eq!(b.complaints(), [""; 0], "page {n}");
    }
    // That the policy acts, and that this would be seen.
    let file = page(d.path(), "planted", &samples::drift());
    let text = std::fs::read_to_string(&file).expect("the page");
    let planted = "<script>window.planted = 1</script><p style=\"color: red\">p</p>\
        <img src=\"planted.png\" onerror=\"window.planted = 1\">";
    std::fs::write(&file, text.replace("<main>", &format!("<main>{planted}"))).expect("a file");
    b.open(&file, "");
    assert!(b.eval("window.planted").is_null());
    let seen = b.complaints();
    assert!(seen.iter().filter(|c| c.contains("Content Security Policy")).count() >= 3, "{seen:?}");
    assert_eq!(b.eval("document.documentElement.dataset.ready"), "");
}

pub fn hostile() {
    let d = tempfile::tempdir().expect("a folder");
    let b = Browser::start();
    let file = page(d.path(), "hostile", &full(samples::hostile()));
    for view in ["#view=list", "#view=groups"] {
        b.open(&file, view);
        // Everything is opened, searched for and put into the address.
        b.eval(
            "for (const h of document.querySelectorAll('button.head')) h.click();
             for (const s of document.querySelectorAll('summary')) s.click();
             for (const o of [...document.querySelectorAll('[name=owner] option')]) {
               const f = document.querySelector('[name=owner]');
               f.value = o.value; f.dispatchEvent(new Event('change'));
             }
             document.querySelector('[type=reset]').click();",
        );
        let kinds = b.eval(
            "[...new Set([...document.querySelectorAll('*')].map((e) => e.localName))].join(' ')",
        );
        let kinds = kinds.as_str().expect("names");
        for bad in ["img", "iframe", "object", "embed", "link", "base", "foreignObject", "animate"]
        {
            assert!(!kinds.split(' ').any(|k| k == bad), "{bad}");
        }
        let acting = b.eval(
            "[...document.querySelectorAll('*')].flatMap((e) => [...e.attributes])
             .filter((a) => a.name.startsWith('on') || /^(src|style|srcdoc)$/.test(a.name)
               || (a.name === 'href' && !a.value.startsWith('#'))).length",
        );
        assert_eq!(acting, 0);
        assert_eq!(b.eval("document.scripts.length"), 2);
        // No character that turns or hides text is in the document.
        let hidden = b.eval(
            r"/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u206f]/.test(document.body.textContent)",
        );
        assert_eq!(hidden, false);
        assert_eq!(b.eval("document.body.textContent.includes('<script>alert(1)</script>')"), true);
        assert_eq!(b.complaints(), [""; 0]);
    }
}

pub fn without_script() {
    let d = tempfile::tempdir().expect("a folder");
    let b = Browser::start();
    b.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    let file = page(d.path(), "plain", &full(samples::generate_findings(3_000)));
    b.open(&file, "");
    let visible = |selector: &str| {
        b.eval(&format!(
            "[...document.querySelectorAll({selector:?})].filter((e) => e.checkVisibility()).length"
        ))
    };
    assert_eq!(visible("#mw-plain tbody tr"), 500);
    assert!(visible("#mw-plain .cause").as_u64() >= Some(5));
    assert_eq!(visible("form, [id=mw-theme], [id=mw-app]"), 0);
    assert_eq!(visible("h1"), 1);
    assert_eq!(visible(".map > svg"), 3);
}
