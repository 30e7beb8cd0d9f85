//! Chromium without a window, driven through the DevTools protocol on a pipe: no port is opened.
//!
//! <https://chromedevtools.github.io/devtools-protocol/>: JSON messages that end in a zero byte, to file
//! descriptor 3 and from file descriptor 4.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// Longer than anything takes; only so that a browser that hangs fails the case.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one tab.
pub struct Browser {
    child: Child,
    input: RefCell<ChildStdin>,
    output: Receiver<Value>,
    state: RefCell<State>,
    session: String,
    /// Its profile; gone with it.
    _profile: tempfile::TempDir,
}

#[derive(Default)]
struct State {
    last: u64,
    events: Vec<Value>,
}

impl Browser {
    /// Starts one. Panics with a sentence where there is none.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let data = format!("--user-data-dir={}", profile.path().display());
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "chromium"])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"])
            .args(["--hide-scrollbars", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-dev-shm-usage", &data])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let input = RefCell::new(child.stdin.take().expect("its input"));
        let out = child.stdout.take().expect("its output");
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut out = BufReader::new(out);
            loop {
                let mut message = Vec::new();
                if !matches!(out.read_until(0, &mut message), Ok(n) if n > 0) {
                    return;
                }
                message.pop();
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let state = RefCell::default();
        let mut browser =
            Self { child, input, output, state, session: String::new(), _profile: profile };
        let tab = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = json!({ "targetId": tab["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attached);
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Performance"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method of the protocol and returns its result.
    pub fn call(&self, method: &str, params: Value) -> Value {
        let id = {
            let mut state = self.state.borrow_mut();
            state.last += 1;
            state.last
        };
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let sent = self.input.borrow_mut().write_all(&bytes);
        assert!(sent.is_ok(), "chromium does not run; install the package `chromium`");
        loop {
            let answer = self.next();
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.state.borrow_mut().events.push(answer);
        }
    }

    fn next(&self) -> Value {
        self.output.recv_timeout(PATIENCE).unwrap_or_else(|e| {
            panic!("chromium does not run or does not answer ({e}); install the package `chromium`")
        })
    }

    /// Opens a file, with a fragment or none, and returns when it has loaded.
    pub fn open(&self, file: &Path, fragment: &str) {
        // From one fragment to another nothing is loaded; from an empty page something is.
        self.load("about:blank");
        self.state.borrow_mut().events.clear();
        self.load(&format!("file://{}{fragment}", file.display()));
    }

    fn load(&self, url: &str) {
        self.state.borrow_mut().events.retain(|e| e["method"] != "Page.loadEventFired");
        self.call("Page.navigate", json!({ "url": url }));
        let seen =
            |state: &State| state.events.iter().any(|e| e["method"] == "Page.loadEventFired");
        while !seen(&self.state.borrow()) {
            let event = self.next();
            self.state.borrow_mut().events.push(event);
        }
    }

    /// The value of an expression; a promise is waited for.
    pub fn eval(&self, expression: &str) -> Value {
        let r = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true }),
        );
        assert!(r["exceptionDetails"].is_null(), "{expression}: {}", r["exceptionDetails"]);
        r["result"]["value"].clone()
    }

    /// Returns when what was asked for is on the screen.
    pub fn frame(&self) {
        self.eval(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))",
        );
    }

    /// Presses and releases a key.
    pub fn key(&self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            k if k.len() == 1 => k,
            _ => "",
        };
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "Tab" => 9,
            _ => 0,
        };
        let down = json!({
            "type": if text.is_empty() { "rawKeyDown" } else { "keyDown" },
            "key": key, "text": text, "windowsVirtualKeyCode": code,
        });
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key }));
    }

    /// Moves the pointer to a place of the window, and clicks there if asked.
    pub fn pointer(&self, x: f64, y: f64, click: bool) {
        let event = |kind: &str| {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": 1 })
        };
        self.call("Input.dispatchMouseEvent", event("mouseMoved"));
        if click {
            self.call("Input.dispatchMouseEvent", event("mousePressed"));
            self.call("Input.dispatchMouseEvent", event("mouseReleased"));
        }
    }

    /// What went wrong since the page was opened: errors and warnings of the console, exceptions, what
    /// the content security policy refused, dialogs, requests.
    pub fn complaints(&self) -> Vec<String> {
        // What is still on its way comes before the answer to this.
        self.eval("new Promise((done) => setTimeout(done, 0))");
        let state = self.state.borrow();
        let bad = state.events.iter().filter(|e| {
            let method = e["method"].as_str().unwrap_or_default();
            method == "Log.entryAdded"
                || method == "Runtime.consoleAPICalled"
                || method == "Runtime.exceptionThrown"
                || method == "Page.javascriptDialogOpening"
        });
        bad.map(|e| e["params"].to_string()).collect()
    }

    /// Writes a picture of the page.
    pub fn picture(&self, to: &Path, whole: bool) {
        use base64::Engine as _;
        let shot = json!({ "format": "png", "captureBeyondViewport": whole });
        let data = self.call("Page.captureScreenshot", shot);
        let png = base64::engine::general_purpose::STANDARD
            .decode(data["data"].as_str().expect("a picture"))
            .expect("base64");
        std::fs::write(to, png).expect("a file");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
