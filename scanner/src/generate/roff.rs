//! One manual page. What stands behind the options in a help text (examples, exit statuses) is set as
//! it stands there, since its columns mean something.

use anyhow::Result;
use clap::Command;
use clap_mangen::Man;

/// The page of a command, found under `name` and typed as `typed`.
pub(super) fn render_page(command: &Command, name: &str, typed: &str) -> Result<String> {
    let source = concat!("mimawari ", env!("CARGO_PKG_VERSION"));
    let shown = command.clone().bin_name(typed).display_name(name.to_owned());
    // No date: a page of the same version is the same page. The library writes an empty one as nothing,
    // so that the next word stands in its place.
    let man = Man::new(shown).title(name.to_uppercase()).source(source).manual("mimawari manual");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.get_subcommands().any(|s| !s.is_hide_set()) {
        man.render_subcommands_section(&mut out)?;
    }
    let page = String::from_utf8_lossy(&out).replacen(" 1  \"", " 1 \"\" \"", 1);
    let mut page = remove_idle_breaks(&page);
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        page.push_str(&render_sections(&after.to_string()));
    }
    Ok(page)
}

/// Without line breaks beside vertical space (an empty line is that, too), which breaks the line by itself.
fn remove_idle_breaks(page: &str) -> String {
    let lines: Vec<&str> = page.lines().collect();
    let is_space = |n: Option<usize>| matches!(n.and_then(|n| lines.get(n)), Some(&("" | ".sp")));
    let kept = lines.iter().enumerate().filter(|(n, line)| {
        **line != ".br" || !(is_space(n.checked_sub(1)) || is_space(Some(n + 1)))
    });
    kept.flat_map(|(_, line)| [*line, "\n"]).collect()
}

/// The paragraphs of a text behind the options; one that begins with a line such as `Examples:` is a
/// section of that name.
fn render_sections(text: &str) -> String {
    let mut out = String::new();
    let mut open = "";
    for paragraph in text.trim_end().split("\n\n") {
        let (first, rest) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        let heading = first
            .strip_suffix(':')
            .filter(|h| rest.starts_with("  ") && h.chars().all(|c| c.is_alphabetic() || c == ' '));
        let (section, body) = match heading {
            Some(heading) => (heading.to_uppercase(), rest),
            None => ("NOTES".to_owned(), paragraph),
        };
        if heading.is_some() || open != "NOTES" {
            let quote = if section.contains(' ') { "\"" } else { "" };
            out.push_str(&format!(".SH {quote}{section}{quote}\n"));
            open = if heading.is_some() { "" } else { "NOTES" };
        } else {
            out.push_str(".PP\n");
        }
        out.push_str(".nf\n");
        for line in body.lines() {
            out.push_str(&escape(line));
            out.push('\n');
        }
        out.push_str(".fi\n");
    }
    out
}

/// A line that stands for itself: no request, no escape, and hyphens that can be copied.
fn escape(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idle_breaks_go() {
        let page = "a\n.br\n.sp\nb\n.br\nc\n\n.br\nd\n";
        assert_eq!(remove_idle_breaks(page), "a\n.sp\nb\n.br\nc\n\nd\n");
    }

    #[test]
    fn what_stands_behind_the_options_is_kept_as_it_stands() {
        let text = "Use it.\n.so it goes\n\nExamples:\n  a --b 'c\\d'\n\nMore.\n\nMuch more.";
        assert_eq!(
            render_sections(text),
            ".SH NOTES\n.nf\nUse it.\n\\&.so it goes\n.fi\n.SH EXAMPLES\n.nf\n  a \\-\\-b 'c\\ed'\n\
             .fi\n.SH NOTES\n.nf\nMore.\n.fi\n.PP\n.nf\nMuch more.\n.fi\n"
        );
    }
}
