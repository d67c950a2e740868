//! Citations and the bibliography, from references.bib.

use std::collections::{BTreeMap, BTreeSet};

use biblatex::{Bibliography, ChunksExt, DateValue, Entry, PermissiveType, Person};

use crate::page::Page;
use crate::problem::Problems;
use crate::slots::{escape, literal};

/// One work.
#[derive(Debug)]
struct Work {
    /// `Kingma et al. (2021)`, without the year's brackets: authors and year.
    authors: String,
    year: String,
    /// The entry of the bibliography, as HTML.
    html: String,
}

/// The works that pages may cite.
#[derive(Debug, Default)]
pub struct References(BTreeMap<String, Work>);

impl References {
    /// Reads the works of a BibTeX file.
    pub fn read(text: &str, file: &str, problems: &mut Problems) -> Self {
        let line_of = |offset: usize| {
            1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
        };
        let bibliography = match Bibliography::parse(text) {
            Ok(bibliography) => bibliography,
            Err(error) => {
                problems.add(
                    file,
                    line_of(error.span.start),
                    format!("this is no BibTeX ({error}); mend the entry"),
                );
                return Self::default();
            }
        };
        let mut references = Self::default();
        for entry in bibliography.iter() {
            match work(entry) {
                Ok(work) => {
                    references.0.insert(entry.key.clone(), work);
                }
                Err(missing) => {
                    let offset = text.find(&format!("{{{},", entry.key)).unwrap_or(0);
                    problems.add(
                        file,
                        line_of(offset),
                        format!("the entry {} has no {missing}; every work needs author, title and year", entry.key),
                    );
                }
            }
        }
        references.tell_apart();
        references
    }

    /// Works of the same authors and year get letters: 2021a, 2021b.
    fn tell_apart(&mut self) {
        let mut same: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for (key, work) in &self.0 {
            same.entry((work.authors.clone(), work.year.clone()))
                .or_default()
                .push(key.clone());
        }
        for keys in same.into_values().filter(|keys| keys.len() > 1) {
            for (key, letter) in keys.iter().zip('a'..='z') {
                if let Some(work) = self.0.get_mut(key) {
                    let lettered = format!("{}{letter}", work.year);
                    work.html = work.html.replacen(&work.year, &lettered, 1);
                    work.year = lettered;
                }
            }
        }
    }

    /// The Markdown of `[@key, locator; @other]`; the keys that it cites are added to
    /// `cited`.
    ///
    /// # Errors
    /// Where a key is unknown.
    pub fn cite(
        &self,
        inside: &str,
        bibliography: &str,
        cited: &mut BTreeSet<String>,
    ) -> Result<String, String> {
        let mut links = Vec::new();
        for part in inside.split(';') {
            let part = part.trim();
            let (key, locator) = part
                .split_once(',')
                .map_or((part, None), |(key, locator)| (key, Some(locator.trim())));
            let key = key
                .trim()
                .strip_prefix('@')
                .ok_or_else(|| format!("\"{part}\" is no citation; write [@key], [@key, where] or [@key; @other]"))?;
            let work = self.0.get(key).ok_or_else(|| {
                format!("no work has the key {key}; add it to book/references.bib or correct the key")
            })?;
            cited.insert(key.to_owned());
            let inner = locator.map_or_else(
                || work.year.clone(),
                |locator| format!("{}, {locator}", work.year),
            );
            links.push(format!(
                "<a class=\"citation\" href=\"{}#ref-{key}\">{} ({})</a>",
                escape(bibliography),
                literal(&work.authors),
                literal(&inner)
            ));
        }
        Ok(links.join("; "))
    }

    /// What `{{#bibliography}}` becomes: the cited works, each with the pages that cite it.
    pub fn list(
        &self,
        cited: &BTreeMap<usize, BTreeSet<String>>,
        pages: &[Page],
        from: &Page,
    ) -> String {
        let mut works: Vec<(&String, &Work)> = self
            .0
            .iter()
            .filter(|(key, _)| cited.values().any(|keys| keys.contains(*key)))
            .collect();
        works.sort_by_key(|(key, work)| {
            (work.authors.to_lowercase(), work.year.clone(), (*key).clone())
        });
        if works.is_empty() {
            return "<p>No work is cited yet.</p>".to_owned();
        }
        let items: String = works
            .into_iter()
            .map(|(key, work)| {
                let citing: Vec<String> = cited
                    .iter()
                    .filter(|(_, keys)| keys.contains(key))
                    .map(|(&index, _)| {
                        let page = &pages[index];
                        format!("<a href=\"{}\">{}</a>", escape(&from.link_to(page, None)), escape(&page.title))
                    })
                    .collect();
                format!(
                    "<li id=\"ref-{key}\">{} <span class=\"cited-in\">Cited in {}.</span></li>",
                    work.html,
                    citing.join(", ")
                )
            })
            .collect();
        format!("<ul class=\"bibliography\">{items}</ul>")
    }
}

/// Reads an entry, or says which field it lacks.
fn work(entry: &Entry) -> Result<Work, &'static str> {
    let people = entry.author().ok().filter(|people| !people.is_empty()).ok_or("author")?;
    let title = text(entry, "title").ok_or("title")?;
    let year = match entry.date() {
        Ok(PermissiveType::Typed(date)) => match date.value {
            DateValue::At(at)
            | DateValue::After(at)
            | DateValue::Before(at)
            | DateValue::Between(at, _) => at.year,
        }
        .to_string(),
        Ok(PermissiveType::Chunks(chunks)) => chunks.format_verbatim(),
        Err(_) => return Err("year"),
    };
    let names: Vec<String> = people.iter().map(full_name).collect();
    let names = match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => return Err("author"),
    };
    let family = |person: &Person| {
        [&person.prefix, &person.name].map(String::as_str).join(" ").trim().to_owned()
    };
    let authors = match &people[..] {
        [one] => family(one),
        [one, two] => format!("{} & {}", family(one), family(two)),
        [one, ..] => format!("{} et al.", family(one)),
        [] => return Err("author"),
    };
    let mut html = format!(
        "{} ({year}). <span class=\"work-title\">{}</span>.",
        escape(&names),
        escape(&title)
    );
    let venue = [
        "journal",
        "journaltitle",
        "booktitle",
        "publisher",
        "institution",
        "howpublished",
    ]
    .into_iter()
    .find_map(|field| text(entry, field));
    if let Some(venue) = venue {
        html.push_str(&format!(" <em>{}</em>", escape(&venue)));
        if let Some(volume) = text(entry, "volume") {
            html.push_str(&format!(" {}", escape(&volume)));
            if let Some(number) = text(entry, "number") {
                html.push_str(&format!("({})", escape(&number)));
            }
        }
        if let Some(pages) = text(entry, "pages") {
            html.push_str(&format!(", {}", escape(&pages.replace("--", "–"))));
        }
        html.push('.');
    }
    if let Some(eprint) = text(entry, "eprint") {
        html.push_str(&format!(
            " <a href=\"https://arxiv.org/abs/{0}\">arXiv:{0}</a>.",
            escape(&eprint)
        ));
    } else if let Some(doi) = text(entry, "doi") {
        html.push_str(&format!(
            " <a href=\"https://doi.org/{0}\">doi:{0}</a>.",
            escape(&doi)
        ));
    } else if let Some(url) = text(entry, "url") {
        html.push_str(&format!(" <a href=\"{0}\">{0}</a>.", escape(&url)));
    }
    Ok(Work { authors, year, html })
}

/// `Kingma, D. P.`
fn full_name(person: &Person) -> String {
    let initials: Vec<String> = person
        .given_name
        .split([' ', '-'])
        .filter_map(|name| name.chars().next())
        .map(|first| format!("{first}."))
        .collect();
    let family = [&person.prefix, &person.name, &person.suffix]
        .map(String::as_str)
        .join(" ")
        .trim()
        .to_owned();
    if initials.is_empty() { family } else { format!("{family}, {}", initials.join(" ")) }
}

fn text(entry: &Entry, field: &str) -> Option<String> {
    let value = entry.get(field)?.format_verbatim();
    let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIB: &str = "@article{kingma2021vdm,\n author = {Kingma, Diederik P. and Salimans, Tim and Poole, Ben and Ho, Jonathan},\n title = {Variational {D}iffusion & Models},\n year = {2021}, eprint = {2107.00630}\n}\n\
        @article{kingma2014vae, author = {Kingma, Diederik P. and Welling, Max}, title = {A}, year = {2014}}\n\
        @article{luo2022, author = {Luo, Calvin}, title = {B}, year = {2022}}\n\
        @article{luo2022b, author = {Luo, Calvin}, title = {C}, year = {2022}}\n";

    fn references(text: &str) -> (References, Problems) {
        let mut problems = Problems::default();
        let references = References::read(text, "book/references.bib", &mut problems);
        (references, problems)
    }

    #[test]
    fn a_citation_names_authors_and_year() {
        let (references, problems) = references(BIB);
        assert_eq!(problems.sorted(), []);
        let mut cited = BTreeSet::new();
        let mut cite =
            |inside: &str| references.cite(inside, "bibliography.html", &mut cited);
        let vdm = cite("@kingma2021vdm").expect("a known key");
        assert!(vdm.contains("href=\"bibliography.html#ref-kingma2021vdm\""), "{vdm}");
        assert!(
            vdm.contains(&format!("{} ({})", literal("Kingma et al."), "2021")),
            "{vdm}"
        );
        let two = cite("@kingma2014vae, eq. 7; @luo2022").expect("known keys");
        assert!(
            two.contains(&literal("Kingma & Welling"))
                && two.contains(&literal("2014, eq. 7")),
            "{two}"
        );
        assert!(two.contains("2022a"), "two works of 2022 are told apart: {two}");
        assert!(cite("@nobody1999").expect_err("unknown").contains("nobody1999"));
        assert_eq!(cited.len(), 3);
    }

    #[test]
    fn an_entry_is_written_with_its_link() {
        let (references, _) = references(BIB);
        let html = &references.0["kingma2021vdm"].html;
        assert!(
            html.starts_with("Kingma, D. P., Salimans, T., Poole, B. and Ho, J. (2021). "),
            "{html}"
        );
        assert!(html.contains("Variational Diffusion &amp; Models"), "{html}");
        assert!(html.contains("https://arxiv.org/abs/2107.00630"), "{html}");
    }

    #[test]
    fn an_incomplete_or_broken_entry_is_a_problem() {
        for (text, says) in [
            ("\n@article{a, title = {T}, year = {2020}}", "author"),
            ("\n@article{a, author = {A, B}, year = {2020}}", "title"),
            ("\n@article{a, author = {A, B}, title = {T}}", "year"),
            ("\n@article{a, author = {A", "BibTeX"),
        ] {
            let (_, problems) = references(text);
            let found = problems.sorted();
            assert!(
                found.len() == 1 && found[0].message.contains(says),
                "{text}: {found:?}"
            );
        }
    }
}
