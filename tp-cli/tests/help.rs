//! The help of every command, as it is read.

use clap::{Command, CommandFactory};
use tp_cli::args::Cli;

#[test]
fn every_command_has_help() {
    let mut pages = Vec::new();
    collect(&mut Cli::command().term_width(100), "", &mut pages);
    // the flags of helm are its own tests' matter
    pages.retain(|(name, _)| !name.starts_with("tp_helm_"));
    for (name, page) in pages {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(format!("help_{name}"), page);
        });
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for words in [&["tp", "conect"][..], &["tp", "connect", "--insecure-plaintext"], &["tp", "status", "now"]]
    {
        let error = Cli::command().try_get_matches_from(words).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}");
    }
}

fn collect(command: &mut Command, above: &str, pages: &mut Vec<(String, String)>) {
    let name = if above.is_empty() {
        command.get_name().to_owned()
    } else {
        format!("{above}_{}", command.get_name())
    };
    command.build();
    pages.push((name.clone(), command.render_help().to_string()));
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
        collect(sub, &name, pages);
    }
}
