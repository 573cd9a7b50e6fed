//! Which glyph prints a character, and how wide it is.
//!
//! The operator's own font comes first, then those that the program carries, then those of the system; a
//! character that none of them has is remembered and printed as a question mark. So is one of a script that
//! is written from right to left: in the order from left to right, and unjoined, nobody could read it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use krilla::Data;
use krilla::text::{Font, GlyphId, KrillaGlyph};
use skrifa::instance::{LocationRef, Size};
use skrifa::{FontRef, MetadataProvider};

use super::PdfFault;

/// Chinese with the scripts that its font has, and the letters of others that it lacks: see assets/fonts.
const CARRIED: [&[u8]; 2] = [
    include_bytes!("../../../assets/fonts/NotoSansSC-Subset.otf"),
    include_bytes!("../../../assets/fonts/NotoSans-Subset.ttf"),
];

/// Fonts in the order in which they are asked.
pub struct Fonts {
    state: RefCell<State>,
}

struct State {
    faces: Vec<Face>,
    /// Fonts of the system, read when the others lack a character.
    more: Option<Box<dyn FnOnce() -> Vec<Vec<u8>> + Send>>,
    known: BTreeMap<char, Glyph>,
    missing: BTreeSet<char>,
}

struct Face {
    font: Font,
    data: Data,
}

/// How a character is printed.
#[derive(Clone, Copy, Debug)]
struct Glyph {
    face: usize,
    id: u32,
    /// Per unit of font size.
    advance: f32,
}

/// A piece of text in one font, from its beginning on the line.
pub struct Run {
    pub font: Font,
    pub text: String,
    pub glyphs: Vec<KrillaGlyph>,
    /// How far to the right it begins.
    pub offset: f32,
}

impl Fonts {
    /// `own` is the operator's font; `more` gives those of the system when they are needed.
    ///
    /// # Errors
    /// Where a font is none.
    pub fn new(
        own: Option<Vec<u8>>,
        more: impl FnOnce() -> Vec<Vec<u8>> + Send + 'static,
    ) -> Result<Fonts, PdfFault> {
        let mut faces = Vec::new();
        if let Some(own) = own {
            faces.push(Face::new(own.into()).ok_or(PdfFault::NoFont)?);
        }
        faces.extend(CARRIED.into_iter().filter_map(|font| Face::new(font.into())));
        let state =
            State { faces, more: Some(Box::new(more)), known: BTreeMap::new(), missing: BTreeSet::new() };
        Ok(Fonts { state: RefCell::new(state) })
    }

    /// What could not be printed so far; asked once, it begins anew.
    pub fn take_missing(&self) -> BTreeSet<char> {
        std::mem::take(&mut self.state.borrow_mut().missing)
    }

    /// How wide a text is at a font size.
    pub fn width(&self, text: &str, size: f32) -> f32 {
        let mut state = self.state.borrow_mut();
        shown(text).map(|c| state.glyph(c).advance * size).sum()
    }

    /// A text as runs of one font each.
    pub fn runs(&self, text: &str, size: f32) -> Vec<Run> {
        let mut state = self.state.borrow_mut();
        let mut runs: Vec<(usize, Run)> = Vec::new();
        let mut offset = 0.0;
        for c in shown(text) {
            let glyph = state.glyph(c);
            let Some(face) = state.faces.get(glyph.face) else { continue };
            if runs.last().is_none_or(|(face, _)| *face != glyph.face) {
                let run = Run { font: face.font.clone(), text: String::new(), glyphs: Vec::new(), offset };
                runs.push((glyph.face, run));
            }
            if let Some((_, run)) = runs.last_mut() {
                let begins = run.text.len();
                run.text.push(c);
                let (id, range) = (GlyphId::new(glyph.id), begins..run.text.len());
                run.glyphs.push(KrillaGlyph::new(id, glyph.advance, 0.0, 0.0, 0.0, range, None));
            }
            offset += glyph.advance * size;
        }
        runs.into_iter().map(|(_, run)| run).collect()
    }

    /// Breaks a text into lines of at most this width: at spaces, between Chinese characters, and within
    /// a word where it is wider than a line.
    pub fn wrap(&self, text: &str, size: f32, width: f32) -> Vec<String> {
        let mut lines = vec![String::new()];
        let mut used = 0.0;
        for word in words(text) {
            let wide = self.width(word.trim_end(), size);
            if used > 0.0 && used + wide > width {
                lines.push(String::new());
                used = 0.0;
            }
            for c in word.chars() {
                let step = self.width(c.encode_utf8(&mut [0; 4]), size);
                if used > 0.0 && used + step > width && c != ' ' {
                    lines.push(String::new());
                    used = 0.0;
                }
                if let Some(line) = lines.last_mut() {
                    line.push(c);
                }
                used += step;
            }
        }
        lines.iter().map(|line| line.trim_end().to_owned()).collect()
    }

    /// What of a text has room on one line; dots tell that it goes on.
    pub fn cut(&self, text: &str, size: f32, width: f32) -> String {
        const MORE: &str = "...";
        if self.width(text, size) <= width {
            return text.to_owned();
        }
        let begins = self.wrap(text, size, width - self.width(MORE, size)).into_iter().next();
        begins.unwrap_or_default() + MORE
    }
}

/// Whether a character is of a script that is written from right to left, such as Hebrew or Arabic.
pub fn is_right_to_left(c: char) -> bool {
    const RIGHT_TO_LEFT: &[RangeInclusive<char>] = &[
        '\u{590}'..='\u{8ff}',
        '\u{fb1d}'..='\u{fdff}',
        '\u{fe70}'..='\u{fefc}',
        '\u{10800}'..='\u{10fff}',
        '\u{1e800}'..='\u{1efff}',
    ];
    RIGHT_TO_LEFT.iter().any(|span| span.contains(&c))
}

/// What may not be parted: a word with the spaces after it, or one Chinese character with the marks that
/// may not begin a line.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut begins = 0;
    let mut before: Option<char> = None;
    for (at, c) in text.char_indices() {
        let closes = "，。、；：！？）》」』】,.;:!?)".contains(c);
        let parts = before.is_some_and(|before| {
            let after_space = before == ' ' && c != ' ';
            let at_chinese = (is_chinese(before) || is_chinese(c)) && c != ' ' && !closes;
            after_space || (at_chinese && !"（《「『【(".contains(before))
        });
        if parts {
            words.push(&text[begins..at]);
            begins = at;
        }
        before = Some(c);
    }
    words.push(&text[begins..]);
    words
}

/// What of a text is printed: not what would break lines or turn the direction of what follows (F104).
fn shown(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_control() && !SILENT.iter().any(|span| span.contains(c)))
}

/// Characters without a shape of their own: spaces of no width, marks of direction.
const SILENT: &[RangeInclusive<char>] =
    &['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2060}'..='\u{206f}', '\u{feff}'..='\u{feff}'];

fn is_chinese(c: char) -> bool {
    const CHINESE: &[RangeInclusive<char>] = &[
        '\u{2e80}'..='\u{9fff}',
        '\u{f900}'..='\u{faff}',
        '\u{ff00}'..='\u{ff60}',
        '\u{20000}'..='\u{3ffff}',
    ];
    CHINESE.iter().any(|span| span.contains(&c))
}

impl State {
    fn glyph(&mut self, c: char) -> Glyph {
        if let Some(glyph) = self.known.get(&c) {
            return *glyph;
        }
        let can_be_set = !is_right_to_left(c);
        let mut found = self.find(c, 0).filter(|_| can_be_set);
        if can_be_set
            && found.is_none()
            && let Some(more) = self.more.take()
        {
            let begins = self.faces.len();
            self.faces.extend(more().into_iter().filter_map(|data| Face::new(data.into())));
            found = self.find(c, begins);
        }
        let glyph = found.unwrap_or_else(|| {
            self.missing.insert(c);
            self.find('?', 0).unwrap_or(Glyph { face: 0, id: 0, advance: 0.5 })
        });
        // What is missing is found missing again, and so told for each document.
        if found.is_some() {
            self.known.insert(c, glyph);
        }
        glyph
    }

    fn find(&self, c: char, from: usize) -> Option<Glyph> {
        let faces = self.faces.iter().enumerate().skip(from);
        faces.filter_map(|(face, of)| of.find(c).map(|(id, advance)| Glyph { face, id, advance })).next()
    }
}

impl Face {
    fn new(data: Data) -> Option<Face> {
        FontRef::from_index(data.as_ref(), 0).ok()?;
        Some(Face { font: Font::new(data.clone(), 0)?, data })
    }

    /// Number and advance of a character's glyph.
    fn find(&self, c: char) -> Option<(u32, f32)> {
        let font = FontRef::from_index(self.data.as_ref(), 0).ok()?;
        let id = font.charmap().map(c).filter(|id| id.to_u32() != 0)?;
        let advance = font.glyph_metrics(Size::new(1.0), LocationRef::default()).advance_width(id)?;
        Some((id.to_u32(), advance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fonts() -> Fonts {
        Fonts::new(None, Vec::new).unwrap()
    }

    #[test]
    fn lines_break_at_spaces_between_characters_and_within_long_words() {
        let fonts = fonts();
        let width = fonts.width("mmmmmmmm", 10.0);
        assert_eq!(fonts.wrap("mmmm mmmm mm", 10.0, width), ["mmmm", "mmmm mm"]);
        assert_eq!(fonts.wrap("mmmmmmmmmm", 10.0, width), ["mmmmmmmm", "mm"]);
        let chinese = fonts.width("短信服务", 10.0);
        assert_eq!(
            fonts.wrap("短信服务技术（服务）费，用", 10.0, chinese),
            ["短信服务", "技术（服", "务）费，", "用"]
        );
        assert_eq!(fonts.wrap("", 10.0, width), [""]);
    }

    #[test]
    fn what_no_font_has_is_a_question_mark_and_is_told() {
        let fonts = fonts();
        let missing = '\u{20000}';
        let runs = fonts.runs(&format!("a{missing}b"), 10.0);
        assert_eq!((runs.len(), runs[0].glyphs.len()), (1, 3));
        assert_eq!(fonts.take_missing(), BTreeSet::from([missing]));
        assert!(fonts.take_missing().is_empty());
        fonts.width("é短信发票（）：,.–·", 10.0);
        assert!(fonts.take_missing().is_empty());
    }

    #[test]
    fn names_of_china_and_europe_are_printed_without_any_font_of_the_system() {
        let fonts = fonts();
        let places = "深圳市 骧 邕宁区 鄠邑区 甪直镇 埇桥区 氹仔 李镕 王喆 陈堃 张珺 玥";
        let signs =
            "，。、；：？！“”‘’（）【】《》〈〉「」『』〔〕…—～·￥％＃＆＊＋－／＝＠ＡＺａｚ０９①Ⅳ℃№→";
        let names =
            "カタカナ ひらがな ー Łódź Škoda Győr Iași İzmir Ærø Þór Việt Nam Đặng Москва Київ Ђорђе Ελλάδα";
        fonts.width(&[places, signs, names].concat(), 10.0);
        for block in ['\u{a0}'..='\u{24f}', '\u{1e00}'..='\u{1eff}', '\u{400}'..='\u{4ff}', 'ぁ'..='ゖ'] {
            block.for_each(|c| _ = fonts.width(&c.to_string(), 10.0));
        }
        assert_eq!(fonts.take_missing(), BTreeSet::new());
    }

    #[test]
    fn what_is_written_from_right_to_left_is_told_and_not_asked_of_the_system() {
        let fonts = Fonts::new(None, || panic!("the system is asked")).unwrap();
        assert_eq!(fonts.wrap("שלום עולם", 10.0, 200.0), ["שלום עולם"]);
        assert_eq!(fonts.take_missing(), "שלוםע".chars().collect());
        assert_eq!(fonts.runs("شركة", 10.0)[0].glyphs.len(), 4);
        assert_eq!(fonts.take_missing(), "شركة".chars().collect());
    }

    #[test]
    fn a_line_that_is_cut_says_so() {
        let fonts = fonts();
        let width = fonts.width("mmmmmmmm", 10.0);
        assert_eq!(fonts.cut("mmmmmmmm", 10.0, width), "mmmmmmmm");
        let cut = fonts.cut("mmmmmmmmm", 10.0, width);
        assert!(cut.ends_with("m...") && fonts.width(&cut, 10.0) <= width, "{cut}");
    }

    #[test]
    fn a_file_that_is_no_font_is_refused() {
        assert!(Fonts::new(Some(b"no font".to_vec()), Vec::new).is_err());
    }
}
