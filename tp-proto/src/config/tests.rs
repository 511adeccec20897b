//! What is read from disk and from a request.

use tp_core::config::Config;

use crate::daemon::KubeTarget;

use super::*;

fn request() -> ConnectRequest {
    ConnectRequest {
        target: Some(Target::Kube(KubeTarget {
            manager_namespace: "traffic".to_owned(),
            ..KubeTarget::default()
        })),
        also_proxy: vec!["10.1.2.3/16".to_owned(), "fd00::/8".to_owned()],
        never_proxy: vec!["10.1.2.0/24".to_owned()],
        allow_conflicting_subnets: vec!["10.0.0.0/9".to_owned()],
        proxy_via: vec!["pods=echo".to_owned()],
        vnat: vec!["service".to_owned()],
        log_level: "debug".to_owned(),
        ..ConnectRequest::default()
    }
}

#[test]
fn flags_become_settings() {
    let config = Config::merge([&flags::layer(&request()).unwrap()]);
    let texts: Vec<String> = config.routing.also_proxy.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["10.1.0.0/16", "fd00::/8"]);
    let via: Vec<String> = config.routing.proxy_via.iter().map(ToString::to_string).collect();
    assert_eq!(via, ["pods=echo", "service"]);
    assert_eq!(config.cluster.manager_namespace.as_deref(), Some("traffic"));
    assert_eq!(config.log_levels.daemon, "debug");
    let nothing = Config::merge([&flags::layer(&ConnectRequest::default()).unwrap()]);
    assert_eq!(nothing, Config::default());
}

#[test]
fn a_wrong_flag_of_another_program_is_told() {
    let wrong = ConnectRequest { proxy_via: vec!["all".to_owned()], ..request() };
    let error = flags::layer(&wrong).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--proxy-via: \"all\" is no CIDR=WORKLOAD; without a workload, `--vnat all` uses the manager as the exit"
    );
    let wrong = ConnectRequest { never_proxy: vec!["10.0.0.1".to_owned()], ..request() };
    assert!(flags::layer(&wrong).unwrap_err().to_string().contains("--never-proxy: \"10.0.0.1\""));
}

#[test]
fn only_files_are_read_and_only_small_ones() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.yml");
    assert_eq!(file::read(&path, 10), Ok(None));
    assert_eq!(file::read(&path.join("below/a/file"), 10), Ok(None));
    std::fs::write(&path, "dns: {}").unwrap();
    assert_eq!(file::read(&path, 7), Ok(Some("dns: {}".to_owned())));
    assert_eq!(file::read(&path.join("below/a/file"), 10), Ok(None), "a file on the way");
    assert_eq!(file::read(&path, 6), Err("it is larger than 0 KiB".to_owned()));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert_eq!(file::read(&path, 10), Err("it is not UTF-8 text".to_owned()));
    assert_eq!(file::read(home.path(), 10), Err("it is not a file".to_owned()));
    assert_eq!(file::read(std::path::Path::new("/dev/zero"), 10), Err("it is not a file".to_owned()));
    let pipe = home.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(file::read(&pipe, 10), Err("it is not a file".to_owned()), "and nobody waits for its writer");
}

#[test]
fn the_cluster_that_is_meant() {
    assert!(
        !chosen(&ConnectRequest { target: Some(Target::ManagerUrl("tp://x".into())), ..request() })
            .kubernetes
    );
    assert!(chosen(&ConnectRequest::default()).kubernetes);
    let target = KubeTarget {
        kubeconfig: "/a:/b".to_owned(),
        context: "dev".to_owned(),
        cluster: "c".to_owned(),
        ..KubeTarget::default()
    };
    let chosen = chosen(&ConnectRequest { target: Some(Target::Kube(target)), ..request() });
    assert_eq!(chosen.kubeconfigs, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!((chosen.context.as_deref(), chosen.cluster.as_deref()), (Some("dev"), Some("c")));
}
