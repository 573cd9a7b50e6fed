//! Texts of notices from templates: built in, and an operator's own in their place.
//!
//! `KIND/LOCALE/{subject.txt, body.txt, body.html, sms.txt}`, with `layout/LOCALE/{body.txt, body.html}`
//! around the bodies. Names that a template uses and nobody gave are faults, and what stands in HTML is
//! escaped (F104).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, context};

use super::sample::{self, Size};
use super::words::{self, group, units};
use super::{Told, sms};
use crate::domain::notice::NoticeKind;
use crate::domain::period::Zone;

/// A part of what a notice says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Subject,
    Text,
    Html,
    Sms,
}

impl Part {
    pub const ALL: &[Part] = &[Part::Subject, Part::Text, Part::Html, Part::Sms];

    fn file(self) -> &'static str {
        match self {
            Part::Subject => "subject.txt",
            Part::Text => "body.txt",
            Part::Html => "body.html",
            Part::Sms => "sms.txt",
        }
    }
}

macro_rules! texts {
    ($($dir:literal: [$($file:literal),+]),+ $(,)?) => {
        &[$($(
            (concat!($dir, "/en/", $file),
             include_str!(concat!("../../config/templates/", $dir, "/en/", $file))),
            (concat!($dir, "/zh-CN/", $file),
             include_str!(concat!("../../config/templates/", $dir, "/zh-CN/", $file))),
        )+)+]
    };
}

/// Name and text of each template that the program carries: the files of `config/templates`.
const BUILT_IN: &[(&str, &str)] = texts! {
    "layout": ["body.txt", "body.html"],
    "overdue": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "suspended": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "restored": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "balance_low": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "quota_low": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "plan_used_up": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "plan_expiring": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "plan_expired": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "renewal_done": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "renewal_failed": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "bill_ready": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "refund_done": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "mail_quota_changed": ["subject.txt", "body.txt", "body.html", "sms.txt"],
    "job_failed": ["subject.txt", "body.txt", "body.html"],
    "books_wrong": ["subject.txt", "body.txt", "body.html"],
    "account_parked": ["subject.txt", "body.txt", "body.html"],
    "exceptions_waiting": ["subject.txt", "body.txt", "body.html"],
};

/// A template is a page of text.
const MAX_BYTES: u64 = 256 * 1024;
/// Text messages that a notice may take with usual data.
const MAX_SEGMENTS: i64 = 2;

/// All templates. They are made ready when the first is filled in: most commands tell nobody anything.
#[derive(Clone)]
pub struct Templates {
    /// The texts that stand in the place of those built in, by name.
    own: BTreeMap<String, String>,
    ready: OnceLock<Environment<'static>>,
    /// The end of each letter, and what the samples are told of.
    sender: String,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} templates, {} of them of one's own", BUILT_IN.len(), self.own.len())
    }
}

/// A fault of a template: the file, the line where that is known, and what is wrong with it.
pub type TemplateFault = (String, Option<usize>, String);

impl Templates {
    /// Those that the program carries.
    pub fn built_in() -> Templates {
        Templates { own: BTreeMap::new(), ready: OnceLock::new(), sender: "Quittance".to_owned() }
    }

    fn environment(&self) -> &Environment<'static> {
        self.ready.get_or_init(|| {
            let mut environment = environment();
            // Those that don't compile were refused; those built in are each filled in by a test.
            for (name, text) in BUILT_IN {
                let _ = environment.add_template(name, text);
            }
            for (name, text) in &self.own {
                let _ = environment.add_template_owned(name.clone(), text.clone());
            }
            environment
        })
    }

    /// Those of a directory in the place of those built in. What is not as it is built in is checked with sample
    /// data: own texts, what stands in an own layout, and text messages that an own signature makes longer.
    ///
    /// # Errors
    /// Every fault of every template.
    pub fn load(
        dir: Option<&Path>,
        sender: &str,
        signature: Option<&str>,
    ) -> Result<Templates, Vec<TemplateFault>> {
        let mut templates = Templates { sender: sender.to_owned(), ..Templates::built_in() };
        let mut faults = Vec::new();
        if let Some(dir) = dir {
            templates.add_dir(dir, "", &mut faults);
        }
        if faults.is_empty() {
            templates.check(
                dir,
                signature,
                |told, part| templates.is_own(told, part, signature),
                &mut faults,
            );
        }
        faults.sort();
        faults.dedup();
        if faults.is_empty() { Ok(templates) } else { Err(faults) }
    }

    fn add_dir(&mut self, dir: &Path, below: &str, faults: &mut Vec<TemplateFault>) {
        let unreadable = |error: std::io::Error| {
            (
                dir.display().to_string(),
                None,
                format!("the directory can't be read ({error}): check its rights"),
            )
        };
        let entries = fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = match entries.map_err(unreadable) {
            Ok(entries) => entries,
            Err(fault) => return faults.push(fault),
        };
        for entry in entries {
            let file = entry.file_name().to_string_lossy().into_owned();
            // What editors leave behind.
            if file.starts_with('.') || file.ends_with('~') {
                continue;
            }
            let name = format!("{below}{file}");
            if entry.path().is_dir() {
                self.add_dir(&entry.path(), &format!("{name}/"), faults);
            } else if let Err((line, what)) = self.add_file(&entry.path(), &name) {
                faults.push((entry.path().display().to_string(), line, what));
            }
        }
    }

    fn add_file(&mut self, path: &Path, name: &str) -> Result<(), (Option<usize>, String)> {
        if !BUILT_IN.iter().any(|(known, _)| *known == name) {
            let what = "there is no template of this name: it is KIND/LOCALE/ with subject.txt, body.txt, body.html \
                        or sms.txt, or layout/LOCALE/ with body.txt or body.html; LOCALE is en or zh-CN";
            return Err((None, what.to_owned()));
        }
        let size = fs::metadata(path).map_or(0, |file| file.len());
        if size > MAX_BYTES {
            return Err((None, "the template is larger than 256 KB: shorten it".to_owned()));
        }
        let text = fs::read_to_string(path).map_err(|error| (None, format!("it can't be read: {error}")))?;
        if BUILT_IN.contains(&(name, text.as_str())) {
            return Ok(());
        }
        let compiled = environment().template_from_named_str(name, &text).map(|_| ());
        compiled.map_err(|error| (error.line(), told_error(&error)))?;
        self.own.insert(name.to_owned(), text);
        Ok(())
    }

    /// Whether a part is not as it is built in.
    fn is_own(&self, told: &Told, part: Part, signature: Option<&str>) -> bool {
        let layout = || self.own.contains_key(&format!("layout/{}/{}", locale(told), part.file()));
        let is_longer = || part == Part::Sms && signature.is_some();
        self.own.contains_key(&self.name(told, part)) || layout() || is_longer()
    }

    /// Fills in templates with sample data.
    fn check(
        &self,
        dir: Option<&Path>,
        signature: Option<&str>,
        of: impl Fn(&Told, Part) -> bool,
        faults: &mut Vec<TemplateFault>,
    ) {
        let Some(zone) = Zone::parse("Asia/Shanghai") else { return };
        for kind in NoticeKind::ALL {
            for locale in ["en", "zh-CN"] {
                for (size, part) in
                    Size::ALL.iter().flat_map(|size| Part::ALL.iter().map(move |part| (size, *part)))
                {
                    let told = sample::told(*kind, locale, zone, *size);
                    if !of(&told, part) {
                        continue;
                    }
                    if let Err(fault) = self.try_part(&told, part, *size, signature) {
                        let (name, line, what) = fault;
                        let own = dir.map(|dir| dir.join(&name)).filter(|path| path.is_file());
                        let file =
                            own.map_or_else(|| format!("built-in {name}"), |path| path.display().to_string());
                        faults.push((file, line, what));
                    }
                }
            }
        }
    }

    fn try_part(
        &self,
        told: &Told,
        part: Part,
        size: Size,
        signature: Option<&str>,
    ) -> Result<(), TemplateFault> {
        if part == Part::Sms && told.kind.is_for_operator() {
            return Ok(());
        }
        let text = self.fill(told, part)?;
        let name = self.name(told, part);
        if part == Part::Subject && size != Size::Longest && text.chars().count() > 200 {
            return Err((name, None, "the subject is longer than 200 characters: shorten it".to_owned()));
        }
        if part == Part::Sms && size == Size::Usual {
            let segments = sms::measured(&text, signature, "+8613800000000").segments;
            if segments > MAX_SEGMENTS {
                let what = format!(
                    "it makes {segments} text messages with usual data: shorten it to {MAX_SEGMENTS}"
                );
                return Err((name, None, what));
            }
        }
        Ok(())
    }

    /// A part of a notice, filled in.
    ///
    /// # Errors
    /// What is wrong with its template, and where.
    pub fn part(&self, told: &Told, part: Part) -> Result<String, String> {
        self.fill(told, part).map_err(|(file, line, what)| match line {
            Some(line) => format!("the template {file}, line {line}: {what}"),
            None => format!("the template {file}: {what}"),
        })
    }

    fn fill(&self, told: &Told, part: Part) -> Result<String, TemplateFault> {
        let name = self.name(told, part);
        let filled = self
            .environment()
            .get_template(&name)
            .and_then(|template| template.render(words::context(told, &self.sender)));
        let text = filled.map_err(|error| {
            // The innermost cause is in the file that holds the mistake.
            let mut inner = &error;
            while let Some(cause) = std::error::Error::source(inner).and_then(|cause| cause.downcast_ref()) {
                inner = cause;
            }
            (inner.name().unwrap_or(&name).to_owned(), inner.line(), told_error(inner))
        })?;
        match part {
            Part::Subject | Part::Sms => one_line(&text).map_err(|what| (name, None, what)),
            Part::Text | Part::Html => Ok(text),
        }
    }

    fn name(&self, told: &Told, part: Part) -> String {
        format!("{}/{}/{}", told.kind.as_str(), locale(told), part.file())
    }

    /// Whether a request's body to an SMS gateway can be filled in.
    pub fn check_request(&self, body: &str) -> Result<(), String> {
        self.request(body, "+8613800000000", "text \"quoted\"", "signature", "id")?;
        // A filter turns what is not there into something, such as null.
        let environment = self.environment();
        let template = environment.template_from_str(body).map_err(|error| told_error(&error))?;
        let known = ["phone", "text", "signature", "id"];
        let mut unknown: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        unknown.retain(|name| !known.contains(&name.as_str()));
        unknown.sort();
        unknown.first().map_or(Ok(()), |name| Err(no_body(&format!("there is no `{name}`"))))
    }

    /// The body of a request to an SMS gateway.
    pub fn request(
        &self,
        body: &str,
        phone: &str,
        text: &str,
        signature: &str,
        id: &str,
    ) -> Result<String, String> {
        let filled = self.environment().render_str(body, context! { phone, text, signature, id });
        filled.map_err(|error| no_body(&told_error(&error)))
    }
}

/// What is wrong with a request's body, and what would be right.
fn no_body(fault: &str) -> String {
    format!("{fault}; a body may use {{{{ phone }}}}, {{{{ text }}}}, {{{{ signature }}}} and {{{{ id }}}}")
}

/// The locale that somebody is written to in.
fn locale(told: &Told) -> &'static str {
    if told.locale == "zh-CN" { "zh-CN" } else { "en" }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_auto_escape_callback(|name| match name.ends_with(".html") {
        true => minijinja::AutoEscape::Html,
        false => minijinja::AutoEscape::None,
    });
    environment.add_filter("group", group);
    environment.add_filter("units", units);
    environment.add_filter("tojson", minijinja::filters::tojson);
    environment.add_filter("upper", minijinja::filters::upper);
    environment.add_filter("lower", minijinja::filters::lower);
    environment.add_filter("replace", minijinja::filters::replace);
    environment.add_filter("urlencode", encoded);
    environment.add_test("defined", minijinja::tests::is_defined);
    environment
}

/// For bodies of the kind `to=..&text=..`.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

fn told_error(error: &minijinja::Error) -> String {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{}{detail}", error.kind())
}

/// A subject or a text message: one line, nothing in it that could end a header (F103).
fn one_line(text: &str) -> Result<String, String> {
    let line = text.trim();
    match line.chars().any(char::is_control) {
        false if !line.is_empty() => Ok(line.to_owned()),
        false => Err("it comes out empty: write a line".to_owned()),
        true => Err("it comes out as several lines: write one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_that_is_carried_can_be_filled_in() {
        let mut faults = Vec::new();
        Templates::built_in().check(None, Some("Example"), |_, _| true, &mut faults);
        assert_eq!(faults, []);
        let parts = NoticeKind::ALL.iter().map(|kind| if kind.is_for_operator() { 6 } else { 8 });
        assert_eq!(BUILT_IN.len(), parts.sum::<usize>() + 4);
    }

    #[test]
    fn f104_words_from_elsewhere_are_escaped_and_no_template() {
        let templates = Templates::built_in();
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        let told = sample::told(NoticeKind::RenewalFailed, "en", zone, Size::Longest);
        let html = templates.part(&told, Part::Html).unwrap();
        assert!(
            html.contains("&lt;b&gt;&amp;") && !html.contains("<b>") && !html.contains('\u{202e}'),
            "{html}"
        );
        assert!(html.contains("{{ x }}"));
    }

    #[test]
    fn a_fault_names_its_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let faults = || -> Vec<String> {
            let faults = Templates::load(Some(dir.path()), "Example", None).err().unwrap_or_default();
            let place = |file: &str| Path::new(file).strip_prefix(dir.path()).unwrap().display().to_string();
            faults.iter().map(|(file, line, what)| format!("{}:{line:?}: {what}", place(file))).collect()
        };
        put("bill_ready/en/subject.txt", "Your bill {{ month }}\n");
        put("bill_ready/en/.subject.txt.swp", "{{");
        assert_eq!(faults(), [""; 0]);
        put("bill_ready/en/body.txt", "Dear customer,\n{{ total }}\n{{ totl }}\n");
        let undefined = "bill_ready/en/body.txt:Some(3): undefined value: `totl` is undefined";
        assert_eq!(faults(), [undefined]);
        put("bill_ready/en/sms.txt", &"long ".repeat(80));
        let long = "bill_ready/en/sms.txt:None: it makes 6 text messages with usual data: shorten it to 2";
        assert_eq!(faults(), [undefined, long]);
        // An own layout is checked with what stands in it.
        put("layout/zh-CN/body.html", "<p>{{ nobody }}</p>");
        let found = faults();
        assert!(
            found.iter().any(|fault| fault.starts_with("layout/zh-CN/body.html:Some(1): undefined")),
            "{found:?}"
        );
        put(
            "layout/zh-CN/body.html",
            BUILT_IN.iter().find(|(name, _)| *name == "layout/zh-CN/body.html").unwrap().1,
        );
        assert_eq!(faults(), [undefined, long]);
        put("bill_redy/en/subject.txt", "x");
        put("bill_ready/en/body.html", "<p>\n{% if %}");
        let found = faults();
        assert!(found[0].starts_with("bill_ready/en/body.html:Some(2): syntax error"), "{found:?}");
        assert!(found[1].starts_with("bill_redy/en/subject.txt:None: there is no template"), "{found:?}");
    }

    #[test]
    fn subjects_are_one_line() {
        assert_eq!(one_line(" a \n"), Ok("a".to_owned()));
        assert!(one_line("a\r\nBcc: b").is_err() && one_line("\n").is_err());
    }
}
