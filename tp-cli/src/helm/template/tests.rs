//! What the renderer gives, what it refuses, and that it always ends.

use super::Templates;
use proptest::prelude::*;
use serde_json::{Value, json};

fn render(source: &str) -> Result<String, String> {
    render_with(source, &dot())
}

fn render_with(source: &str, dot: &Value) -> Result<String, String> {
    let mut templates = Templates::default();
    templates.add("t", source).map_err(|error| error.to_string())?;
    templates.render("t", dot).map_err(|error| error.to_string())
}

fn dot() -> Value {
    json!({"name": "x", "empty": "", "list": ["a", "b"], "map": {"k2": 2, "k1": "one"}, "port": 8081, "yes": true})
}

#[test]
fn renders_the_subset() {
    let cases = [
        ("plain", "plain"),
        ("a {{ .name }} b", "a x b"),
        ("a {{- .name -}} b", "axb"),
        ("a {{/* not { this */}} b", "a  b"),
        ("a {{- /* nor this */ -}} b", "ab"),
        ("{{ if .yes }}1{{ else }}2{{ end }}", "1"),
        ("{{ if .empty }}1{{ else if .none }}2{{ else }}3{{ end }}", "3"),
        ("{{ with .map }}{{ .k1 }}{{ $.name }}{{ else }}no{{ end }}", "onex"),
        ("{{ with .empty }}{{ . }}{{ else }}no{{ end }}", "no"),
        ("{{ range .list }}{{ . }},{{ end }}", "a,b,"),
        ("{{ range $i, $v := .list }}{{ $i }}={{ $v }};{{ end }}", "0=a;1=b;"),
        ("{{ range $k, $v := .map }}{{ $k }}={{ $v }};{{ end }}", "k1=one;k2=2;"),
        ("{{ range .none }}1{{ else }}none{{ end }}", "none"),
        ("{{ $x := .name }}{{ if .yes }}{{ $x := \"y\" }}{{ $x }}{{ end }}{{ $x }}", "yx"),
        ("{{ define \"d\" }}[{{ .k1 }}]{{ end }}{{ include \"d\" .map | quote }}", "\"[one]\""),
        ("{{ default \"d\" .empty }}{{ default \"d\" .name }}", "dx"),
        ("{{ .port | int }} {{ int \"7\" }}", "8081 7"),
        ("{{ quote .name 1 .none \"a\\\"b\" }}", "\"x\" \"1\" \"a\\\"b\""),
        ("{{ toYaml .map | nindent 2 }}", "\n  k1: one\n  k2: 2"),
        ("{{ (include \"t2\" .) }}{{ define \"t2\" }}{{ (.map).k1 }}{{ end }}", "one"),
        ("{{ if and .yes (not .empty) (eq .name \"y\" \"x\") }}1{{ end }}", "1"),
        ("{{ or .empty .name }} {{ and .yes .name }}", "x x"),
        ("{{ if or .yes (fail \"not looked at\") }}1{{ end }}", "1"),
        ("{{ printf \"%s-%d%%\" .name .port }}", "x-8081%"),
        ("{{ join \" \" .list }} {{ list 1 2 | join \"+\" }}", "a b 1+2"),
        ("{{ `raw \"string\"` }}", "raw \"string\""),
        ("{{ .none }}", ""),
    ];
    for (source, expected) in cases {
        assert_eq!(render(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn refuses_loudly_what_is_outside() {
    let sources = [
        "\n{{ .name.more }}",
        "{{ .none.more }}",
        "{{ .map }}",
        "{{ template \"x\" . }}",
        "{{ block \"x\" . }}{{ end }}",
        "{{ tpl .name . }}",
        "{{ lookup \"v1\" \"Pod\" \"\" \"\" }}",
        "{{ range .list }}{{ break }}{{ end }}",
        "{{ $x }}",
        "{{ $x = 1 }}",
        "{{ if .yes }}",
        "{{ end }}",
        "{{ else }}",
        "{{ if .yes }}{{ else }}{{ else }}{{ end }}",
        "{{ .name",
        "{{ \"text }}",
        "{{ }}",
        "{{ .name .name }}",
        "{{ 1 | .name }}",
        "{{ (.name }}",
        "{{ .name) }}",
        "{{ .a..b }}",
        "{{ 1.5 }}",
        "{{ 010 }}",
        "{{ \"a\"\"b\" }}",
        "{{ eq .name 1 }}",
        "{{ range .port }}{{ end }}",
        "{{ required \"give a name\" .empty }}",
        "{{ fail \"because\" }}",
        "{{ printf \"%s\" }}",
        "{{ printf \"%x\" 1 }}",
        "{{ int .name }}",
        "{{ nindent 2 .list }}",
        "{{/* a */ .name }}",
        "{{ define \"a\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}",
        "{{ define \"a\" }}{{ end }}{{ define \"a\" }}{{ end }}",
    ];
    let said: Vec<String> = sources
        .iter()
        .map(|source| format!("{}\n    {}", source.trim(), render(source).expect_err(source)))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn rendering_ends_even_where_templates_double() {
    let doubling = "{{ define \"a\" }}{{ range .list }}{{ range $.list }}{{ include \"a\" $ }}{{ end }}{{ end }}{{ end }}{{ include \"a\" . }}";
    assert!(render(doubling).is_err());
    let texts = format!(
        "{}{{{{ $x }}}}",
        "{{ $x := \"xxxxxxxx\" }}".to_owned() + &"{{ $x := printf \"%s%s%s%s\" $x $x $x $x }}".repeat(40)
    );
    assert!(render(&texts).is_err());
}

/// Pieces of templates in any order: more of them parse than of random text.
fn pieces() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "\n",
        "if ",
        "else",
        "end",
        "range ",
        "with ",
        "define ",
        "\"a\"",
        "include ",
        ".",
        ".list",
        ".map.k1",
        "$",
        "$x",
        ":=",
        ",",
        "(",
        ")",
        "|",
        "toYaml ",
        "nindent 2",
        "quote ",
        "not ",
        "eq ",
        "and ",
        "or ",
        "printf ",
        "\"%s\"",
        "1",
        "-",
        "/*",
        "*/",
        "`",
        "é",
        "text",
        "default ",
        "int ",
        "{{ end }}",
        "{{ if .yes }}",
        "{{ range $i, $v := .list }}",
        "{{ else }}",
    ]);
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn never_panics_on_pieces(source in pieces()) {
        let _ = render(&source);
    }

    #[test]
    fn never_panics_on_any_text(source in any::<String>(), inner in any::<String>()) {
        let _ = render(&source);
        let _ = render(&format!("a {{{{ {inner} }}}} b"));
    }

    #[test]
    fn text_without_actions_is_itself(source in "[^{]*") {
        prop_assert_eq!(render(&source), Ok(source));
    }
}
