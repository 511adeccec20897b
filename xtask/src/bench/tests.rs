//! A fixed run, and everything that is made of it.
use super::run::Run;
use super::{publish, report, table};

fn example() -> Run {
    serde_json::from_str(include_str!("example.json")).unwrap()
}

#[test]
fn the_text() {
    insta::assert_snapshot!(table::text(&example()));
}

#[test]
fn the_summary_in_readme() {
    insta::assert_snapshot!(publish::summary(&example()));
}

#[test]
fn the_picture() {
    insta::assert_snapshot!(report::overview(&example()));
}

#[test]
fn the_report_needs_nothing_else_and_shows_everything() {
    let html = report::html(&example());
    // the name of the XML namespace is no reference
    let references = html.replace("http://www.w3.org/2000/svg", "");
    assert!(["http:", "https:", "src=", "href=", "url("].iter().all(|word| !references.contains(word)));
    for wanted in
        ["Example &lt;CPU&gt; &amp; Co", "MISSED", "not measured", "&lt;not here&gt;", "it is broken"]
    {
        assert!(html.contains(wanted), "{wanted}");
    }
    assert!(!html.contains("<CPU>") && !html.contains("<not here>"));
    let count = |text: &str| html.matches(text).count();
    assert_eq!((count("<svg "), count("<table>")), (count("</svg>"), count("</table>")));
    // two settings with plots; one table of bars, one of figures each, one of processor time
    assert_eq!((count("<svg "), count("<table>")), (2, 4));
}

#[test]
fn what_is_published_can_be_read_again() {
    let root = tempfile::tempdir().unwrap();
    let markers = format!("# tp\n{}\n{}\nrest\n", publish::BEGIN, publish::END);
    std::fs::write(root.path().join("README.md"), markers).unwrap();
    publish::publish(&example(), root.path()).unwrap();
    let json = std::fs::read_to_string(root.path().join("docs/bench/latest.json")).unwrap();
    let again: Run = serde_json::from_str(&json).unwrap();
    assert_eq!(again.series, example().series);
    let readme = std::fs::read_to_string(root.path().join("README.md")).unwrap();
    assert!(readme.contains("1 stream, up") && readme.ends_with("rest\n"));
}
