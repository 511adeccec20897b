//! A real etcd and kube-apiserver on loopback, for one test: objects are stored, admitted and authorized for real,
//! but no controller acts on them and no pod runs.

use crate::programs::cache;
use serde_json::{Value, json};
use std::{
    fs,
    io::{Seek, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub(crate) struct ApiServer {
    port: u16,
    directory: tempfile::TempDir,
    processes: Vec<Child>,
}

/// Bearer tokens are the users' names: token,user,uid,groups.
const USERS: &str = "admin,admin,1,system:masters\nnobody,nobody,2\nnamespace-admin,namespace-admin,3\nrole-maker,role-maker,4\n";

impl ApiServer {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (client, peer, port) = (free_port(), free_port(), free_port());
        let at = |name: &str| directory.path().join(name).display().to_string();
        fs::write(at("tokens"), USERS).expect("writing tokens");
        let key = rcgen::KeyPair::generate().expect("a key");
        fs::write(at("sa.key"), key.serialize_pem()).expect("writing a key");
        fs::write(at("sa.pub"), key.public_key_pem()).expect("writing a key");
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let etcd = program(
            "etcd",
            directory.path(),
            &[
                format!("--data-dir={}", at("etcd")),
                "--name=one".to_owned(),
                "--unsafe-no-fsync".to_owned(),
                format!("--listen-client-urls={}", url(client)),
                format!("--advertise-client-urls={}", url(client)),
                format!("--listen-peer-urls={}", url(peer)),
                format!("--initial-advertise-peer-urls={}", url(peer)),
                format!("--initial-cluster=one={}", url(peer)),
            ],
        );
        let api = program(
            "kube-apiserver",
            directory.path(),
            &[
                format!("--etcd-servers={}", url(client)),
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                format!("--secure-port={port}"),
                format!("--cert-dir={}", at("certificates")),
                format!("--token-auth-file={}", at("tokens")),
                "--authorization-mode=RBAC".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
                "--disable-admission-plugins=ServiceAccount".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-account-key-file={}", at("sa.pub")),
                format!("--service-account-signing-key-file={}", at("sa.key")),
            ],
        );
        let server = Self { port, directory, processes: vec![etcd, api] };
        server.write_kubeconfig();
        server.wait();
        server.grant();
        server
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// An object as stored, if it is there; an empty namespace for a cluster-wide one.
    pub(crate) fn find(&self, what: &str, namespace: &str) -> Option<Value> {
        let answer = self.kubectl(&["get", what, "-n", namespace, "-o", "json", "--ignore-not-found"], "");
        (!answer.is_empty()).then(|| serde_json::from_str(&answer).expect("kubectl gives JSON"))
    }

    pub(crate) fn kubectl_get(&self, what: &str, namespace: &str) -> Value {
        self.find(what, namespace).unwrap_or_else(|| panic!("{what} is not there"))
    }

    /// Names of everything a release could have left.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let kinds = "deployments,services,serviceaccounts,configmaps,roles,rolebindings,secrets,clusterroles,clusterrolebindings";
        let all = self.kubectl(&["get", kinds, "-A", "-l", "app=traffic-manager", "-o", "name"], "");
        let records = self.kubectl(&["get", "secrets", "-A", "-l", "owner=helm", "-o", "name"], "");
        all.lines().chain(records.lines()).map(str::to_owned).collect()
    }

    fn write_kubeconfig(&self) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("https://127.0.0.1:{}", self.port), "insecure-skip-tls-verify": true}}],
            "users": [{"name": "admin", "user": {"token": "admin"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        });
        fs::write(self.kubeconfig(), config.to_string()).expect("writing a kubeconfig");
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.try_kubectl(&["get", "--raw", "/readyz"], "").is_none_or(|answer| answer != "ok") {
            let log =
                || fs::read_to_string(self.directory.path().join("kube-apiserver.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the API server does not get ready:\n{}", log());
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// What the users other than admin may do.
    fn grant(&self) {
        let grant = r#"
apiVersion: v1
kind: Namespace
metadata: {name: ambassador}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: namespace-admin, namespace: ambassador}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: User, name: namespace-admin}, {kind: User, name: role-maker}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: role-maker}
rules: [{apiGroups: [rbac.authorization.k8s.io], resources: ["*"], verbs: [get, create, patch, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: role-maker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: role-maker}
subjects: [{kind: User, name: role-maker}]
"#;
        self.kubectl(&["apply", "--validate=false", "-f", "-"], grant);
    }

    fn kubectl(&self, args: &[&str], input: &str) -> String {
        self.try_kubectl(args, input).unwrap_or_else(|| panic!("kubectl {} failed", args.join(" ")))
    }

    fn try_kubectl(&self, args: &[&str], input: &str) -> Option<String> {
        let mut stdin = tempfile::tempfile().expect("a temporary file");
        stdin.write_all(input.as_bytes()).and_then(|()| stdin.rewind()).expect("writing a temporary file");
        let output = Command::new(binary("kubectl"))
            .args(args)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.directory.path())
            .stdin(stdin)
            .output()
            .unwrap_or_else(|error| panic!("kubectl: {error}; cargo xtask setup builds it"));
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn program(name: &str, directory: &Path, args: &[String]) -> Child {
    let log = fs::File::create(directory.join(format!("{name}.log"))).expect("a log file");
    Command::new(binary(name))
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}; cargo xtask setup builds it"))
}

fn binary(name: &str) -> PathBuf {
    let lab = std::env::var_os("KL").map_or_else(|| cache().join("kube-lab"), PathBuf::from);
    lab.join("bin").join(name)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
