//! Which files are read: the XDG rules.

use std::path::{Path, PathBuf};

/// The files, low to high: those of the system, then the user's. `env` looks a variable up.
pub fn paths(env: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let set = |name| env(name).filter(|value| !value.is_empty());
    let system = set("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".to_owned());
    // the first of them is the most important
    let mut directories: Vec<PathBuf> = std::env::split_paths(&system).collect();
    directories.reverse();
    let user = set("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    directories.extend(user.or_else(|| set("HOME").map(|home| Path::new(&home).join(".config"))));
    // a relative path would mean another file in each directory: the XDG rules want it left out
    directories.retain(|path| path.is_absolute());
    directories.iter().map(|directory| directory.join("tp/config.yml")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(vars: &[(&str, &str)]) -> Vec<String> {
        let env =
            |name: &str| vars.iter().find(|(var, _)| *var == name).map(|(_, value)| (*value).to_owned());
        paths(env).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn the_users_file_is_over_the_systems() {
        assert_eq!(
            found(&[("HOME", "/home/a")]),
            ["/etc/xdg/tp/config.yml", "/home/a/.config/tp/config.yml"]
        );
        let vars = [("HOME", "/home/a"), ("XDG_CONFIG_HOME", "/c"), ("XDG_CONFIG_DIRS", "/first:/second")];
        assert_eq!(found(&vars), ["/second/tp/config.yml", "/first/tp/config.yml", "/c/tp/config.yml"]);
    }

    #[test]
    fn relative_directories_are_left_out() {
        let vars = [("HOME", "/home/a"), ("XDG_CONFIG_HOME", "c"), ("XDG_CONFIG_DIRS", "x:/y")];
        assert_eq!(found(&vars), ["/y/tp/config.yml", "/home/a/.config/tp/config.yml"]);
        assert_eq!(found(&[("XDG_CONFIG_DIRS", "x")]), [""; 0]);
    }
}
