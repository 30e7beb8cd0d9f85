//! Paths as the catalogue writes them: alternatives, and names taken from the target.
//!
//! ```text
//! /{backup,www}{.zip,.tar.gz}     each of the four paths
//! /{host}.key                     the virtual host asked for
//! /{label}.sql                    its first label that is not `www`
//! /backup-{yyyy}.zip              this year, and the one before
//! /{yyyy}-{mm}.log                this month, and the one before
//! /{yyyy}-{mm}-{dd}.log           this day, the one before and the one behind: some site is there
//! ```

/// Most paths that one pattern may stand for.
const EXPANSION_LIMIT: usize = 50_000;

/// Longest path, bytes.
const LENGTH_LIMIT: usize = 2048;

/// What a path may take from its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSource {
    /// The virtual host.
    Host,
    /// The first label of the virtual host that is not `www`.
    Label,
    /// The year.
    Year,
    /// The month, two digits.
    Month,
    /// The day of the month, two digits.
    Day,
}

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayName {
    /// Year.
    pub year: i16,
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31.
    pub day: i8,
}

impl DayName {
    const fn month_before(self) -> Self {
        match self.month {
            ..=1 => Self { year: self.year - 1, month: 12, day: 1 },
            month => Self { year: self.year, month: month - 1, day: 1 },
        }
    }

    const fn before(self) -> Self {
        if self.day > 1 {
            return Self { day: self.day - 1, ..self };
        }
        let before = self.month_before();
        Self { day: before.length(), ..before }
    }

    const fn after(self) -> Self {
        match self {
            day if day.day < day.length() => Self { day: day.day + 1, ..day },
            Self { year, month: 12.., .. } => Self { year: year + 1, month: 1, day: 1 },
            Self { year, month, .. } => Self { year, month: month + 1, day: 1 },
        }
    }

    /// Days of its month.
    const fn length(self) -> i8 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}

/// A piece of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePiece {
    /// As it stands.
    Text(String),
    /// Taken from the target.
    Name(NameSource),
}

/// A path that may depend on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate(Vec<TemplatePiece>);

/// What is known of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameLists<'a> {
    /// The virtual host, in A-labels; absent for an address.
    pub host: Option<&'a str>,
    /// The day of the run, in UTC.
    pub today: DayName,
}

impl PathTemplate {
    /// Reads a pattern into the paths that it stands for.
    ///
    /// # Errors
    /// A title and a remedy.
    pub fn expand(pattern: &str) -> Result<Vec<Self>, (String, &'static str)> {
        if !pattern.starts_with('/') {
            return Err((
                format!("the path `{pattern}` does not begin with `/`"),
                "begin it with `/`",
            ));
        }
        if let Some(c) = pattern.chars().find(|c| {
            !c.is_ascii_graphic() || matches!(c, '#' | '"' | '<' | '>' | '\\' | '^' | '`' | '|')
        }) {
            return Err((
                format!("`{}` may not stand in a path", c.escape_default()),
                "percent-encode it (RFC 3986, section 2.1), such as %20 or %23",
            ));
        }
        let mut all: Vec<Vec<TemplatePiece>> = vec![Vec::new()];
        let mut rest = pattern;
        while let Some(open) = rest.find(['{', '}']) {
            let Some(inside) = rest[open..].strip_prefix('{') else {
                return Err((
                    "a `}` has no `{`".to_owned(),
                    "percent-encode a brace as %7B or %7D",
                ));
            };
            let Some(close) = inside.find(['{', '}']).filter(|c| inside[*c..].starts_with('}'))
            else {
                return Err((
                    "a `{` is not closed".to_owned(),
                    "close it before the next; alternatives cannot be nested",
                ));
            };
            push(&mut all, &[TemplatePiece::Text(rest[..open].to_owned())])?;
            let inner = &inside[..close];
            if inner.contains(',') {
                let alternatives: Vec<TemplatePiece> =
                    inner.split(',').map(|a| TemplatePiece::Text(a.to_owned())).collect();
                push(&mut all, &alternatives)?;
            } else {
                let name = match inner {
                    "host" => NameSource::Host,
                    "label" => NameSource::Label,
                    "yyyy" => NameSource::Year,
                    "mm" => NameSource::Month,
                    "dd" => NameSource::Day,
                    _ => {
                        return Err((
                            format!("`{{{inner}}}` is not a name"),
                            "write {host}, {label}, {yyyy}, {mm} or {dd}, or alternatives with commas",
                        ));
                    }
                };
                push(&mut all, &[TemplatePiece::Name(name)])?;
            }
            rest = &inside[close + 1..];
        }
        push(&mut all, &[TemplatePiece::Text(rest.to_owned())])?;
        Ok(all.into_iter().map(|pieces| Self(merge_text_pieces(pieces))).collect())
    }

    /// The path, if it does not depend on the target.
    #[must_use]
    pub fn fixed(&self) -> Option<&str> {
        match &self.0[..] {
            [TemplatePiece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The paths on a target; none where it has no such name.
    #[must_use]
    pub fn on(&self, names: NameLists<'_>) -> Vec<String> {
        let today = names.today;
        let has = |name: NameSource| self.0.contains(&TemplatePiece::Name(name));
        let days = if has(NameSource::Day) {
            [Some(today), Some(today.before()), Some(today.after())]
        } else if has(NameSource::Month) {
            [Some(today), Some(today.month_before()), None]
        } else if has(NameSource::Year) {
            [Some(today), Some(DayName { year: today.year - 1, ..today }), None]
        } else {
            [Some(today), None, None]
        };
        let on = |day: DayName| {
            let mut path = String::new();
            for piece in &self.0 {
                match piece {
                    TemplatePiece::Text(text) => path.push_str(text),
                    TemplatePiece::Name(NameSource::Host) => path.push_str(names.host?),
                    TemplatePiece::Name(NameSource::Label) => {
                        path.push_str(extract_host_label(names.host?))
                    }
                    TemplatePiece::Name(NameSource::Year) => path.push_str(&day.year.to_string()),
                    TemplatePiece::Name(NameSource::Month) => {
                        path.push_str(&format!("{:02}", day.month))
                    }
                    TemplatePiece::Name(NameSource::Day) => {
                        path.push_str(&format!("{:02}", day.day))
                    }
                }
            }
            (path.len() <= LENGTH_LIMIT).then_some(path)
        };
        days.into_iter().flatten().filter_map(on).collect()
    }
}

/// `shop` of `www.shop.example.jp`.
fn extract_host_label(host: &str) -> &str {
    let host = host.strip_prefix("www.").unwrap_or(host);
    host.split('.').next().unwrap_or(host)
}

/// Every path so far, with every alternative behind it.
fn push(
    all: &mut Vec<Vec<TemplatePiece>>,
    alternatives: &[TemplatePiece],
) -> Result<(), (String, &'static str)> {
    if all.len().saturating_mul(alternatives.len()) > EXPANSION_LIMIT {
        return Err((
            format!("the pattern stands for more than {EXPANSION_LIMIT} paths"),
            "divide it, or take alternatives away",
        ));
    }
    *all = all
        .iter()
        .flat_map(|path| {
            alternatives.iter().map(move |a| {
                let mut path = path.clone();
                path.push(a.clone());
                path
            })
        })
        .collect();
    Ok(())
}

/// Neighbouring texts as one.
fn merge_text_pieces(pieces: Vec<TemplatePiece>) -> Vec<TemplatePiece> {
    let mut out: Vec<TemplatePiece> = Vec::new();
    for piece in pieces {
        match (out.last_mut(), piece) {
            (Some(TemplatePiece::Text(before)), TemplatePiece::Text(text)) => {
                before.push_str(&text)
            }
            (_, piece) => out.push(piece),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(pattern: &str, host: Option<&str>) -> Vec<String> {
        let names = NameLists { host, today: DayName { year: 2026, month: 3, day: 1 } };
        PathTemplate::expand(pattern).unwrap().iter().flat_map(|t| t.on(names)).collect()
    }

    #[test]
    fn patterns() {
        assert_eq!(on("/.git/config", None), ["/.git/config"]);
        assert_eq!(on("/{a,b}{.x,}", None), ["/a.x", "/a", "/b.x", "/b"]);
        assert_eq!(on("/{host}.key", Some("www.shop.example.jp")), ["/www.shop.example.jp.key"]);
        assert_eq!(on("/{label}.sql", Some("www.shop.example.jp")), ["/shop.sql"]);
        assert_eq!(on("/{label}.sql", None), [""; 0]);
        assert_eq!(on("/{yyyy}.zip", None), ["/2026.zip", "/2025.zip"]);
        assert_eq!(on("/{yyyy}-{mm}.sql", None), ["/2026-03.sql", "/2026-02.sql"]);
        assert_eq!(on("/{mm}{dd}", None), ["/0301", "/0228", "/0302"]);
        assert!(PathTemplate::expand("/a{b,c}").unwrap().iter().all(|t| t.fixed().is_some()));
        assert!(PathTemplate::expand("/{host}").unwrap()[0].fixed().is_none());
    }

    #[test]
    fn days() {
        let day = |year, month, day| DayName { year, month, day };
        for (a, b) in [
            (day(2026, 1, 1), day(2026, 1, 2)),
            (day(2026, 12, 31), day(2027, 1, 1)),
            (day(2024, 2, 28), day(2024, 2, 29)),
            (day(2024, 2, 29), day(2024, 3, 1)),
            (day(2100, 2, 28), day(2100, 3, 1)),
            (day(2000, 2, 29), day(2000, 3, 1)),
            (day(2026, 4, 30), day(2026, 5, 1)),
        ] {
            assert_eq!((a.after(), b.before()), (b, a));
        }
    }

    #[test]
    fn mistakes() {
        for pattern in
            ["a", "", "/a b", "/ö", "/a#b", "/{", "/}", "/{a", "/{a,{b,c}}", "/{x}", "/{}"]
        {
            assert!(PathTemplate::expand(pattern).is_err(), "{pattern}");
        }
        let many = format!("/{}", "{a,b,c,d,e,f,g,h,i,j}".repeat(6));
        assert!(PathTemplate::expand(&many).is_err());
    }
}
