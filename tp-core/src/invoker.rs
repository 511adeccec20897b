//! The invoking user: who typed the command, also under `sudo` and `pkexec`, and the environment that goes with them.
//!
//! The daemon works as this user: the kubeconfig, the credential plugins and the cache are theirs.

use std::path::Path;

/// An account, as the password database has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    pub name: String,
    pub home: String,
    pub shell: String,
}

/// The uid behind the command: `uid` itself, or for root the one that `sudo` or `pkexec` says. What those two put into
/// the environment is trusted for root only, who could have said anything.
pub fn invoking_uid(uid: u32, env: impl Fn(&str) -> Option<String>) -> u32 {
    if uid != 0 {
        return uid;
    }
    // (uid_t)-1 means "unchanged" to setresuid(2): never an account
    let said = |name| env(name).and_then(|value| value.parse().ok()).filter(|uid: &u32| *uid != u32::MAX);
    said("SUDO_UID").or_else(|| said("PKEXEC_UID")).unwrap_or(0)
}

/// What has to change in the environment of a process of `uid` that is to work as `account`: variable, and its new
/// value or `None` for "remove it". `runtime_dir` tells whether a directory exists.
pub fn environment(
    uid: u32,
    account: &Account,
    env: impl Fn(&str) -> Option<String>,
    runtime_dir: impl Fn(&str) -> bool,
) -> Vec<(&'static str, Option<String>)> {
    let mut changes = vec![
        ("HOME", Some(account.home.clone())),
        ("USER", Some(account.name.clone())),
        ("LOGNAME", Some(account.name.clone())),
        ("SHELL", Some(account.shell.clone())),
    ];
    if uid == account.uid {
        // what they have set is theirs; what is missing (under a bare `nsenter`, say) is filled in
        changes.retain(|(name, _)| env(name).is_none());
        return changes;
    }
    // sudo's own variables would tell a credential plugin that it runs under sudo, which it no longer does
    changes
        .extend(["SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND", "PKEXEC_UID"].map(|name| (name, None)));
    let runtime = format!("/run/user/{}", account.uid);
    changes.push(("XDG_RUNTIME_DIR", runtime_dir(&runtime).then_some(runtime)));
    for name in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"] {
        // the user's own setting survives, root's does not
        if env(name).is_some_and(|value| !Path::new(&value).starts_with(&account.home)) {
            changes.push((name, None));
        }
    }
    changes.retain(|(name, value)| env(name) != *value);
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(vars: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<'a> {
        |name| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
    }

    fn alice() -> Account {
        Account {
            uid: 1000,
            gid: 1000,
            name: "alice".into(),
            home: "/home/alice".into(),
            shell: "/bin/zsh".into(),
        }
    }

    #[test]
    fn sudo_and_pkexec_are_believed_only_when_we_are_root() {
        assert_eq!(invoking_uid(0, env(&[("SUDO_UID", "1000")])), 1000);
        assert_eq!(invoking_uid(0, env(&[("PKEXEC_UID", "1001")])), 1001);
        assert_eq!(invoking_uid(0, env(&[("SUDO_UID", "4294967295")])), 0);
        assert_eq!(invoking_uid(0, env(&[("SUDO_UID", "alice")])), 0);
        assert_eq!(invoking_uid(0, env(&[])), 0);
        assert_eq!(invoking_uid(1000, env(&[("SUDO_UID", "0")])), 1000);
    }

    #[test]
    fn roots_environment_becomes_the_users() {
        let root = [
            ("HOME", "/root"),
            ("USER", "root"),
            ("LOGNAME", "alice"),
            ("SUDO_UID", "1000"),
            ("XDG_CONFIG_HOME", "/root/.config"),
            ("XDG_CACHE_HOME", "/home/alice/cache"),
        ];
        let changes = environment(0, &alice(), env(&root), |_| true);
        assert_eq!(
            changes,
            [
                ("HOME", Some("/home/alice".into())),
                ("USER", Some("alice".into())),
                ("SHELL", Some("/bin/zsh".into())),
                ("SUDO_UID", None),
                ("XDG_RUNTIME_DIR", Some("/run/user/1000".into())),
                ("XDG_CONFIG_HOME", None),
            ]
        );
        assert_eq!(
            environment(1000, &alice(), env(&root), |_| true),
            [("SHELL", Some("/bin/zsh".into()))],
            "alice may set what she likes"
        );
    }
}
