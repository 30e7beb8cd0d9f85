//! The look from end to end: the real program against fake sites, and what it says of them.

#[path = "content/desk.rs"]
mod desk;
#[path = "content/manifest.rs"]
mod manifest;
#[path = "content/own.rs"]
mod own;
#[path = "content/secrets.rs"]
mod secrets;
#[path = "content/sites.rs"]
mod sites;
#[path = "content/templates.rs"]
mod templates;
