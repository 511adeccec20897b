# Common settings of the kube lab; sourced by every script.
# Everything big lives under $KL; nothing is installed into the system except the Debian packages
# nftables and iptables where they are absent.
#
# LAB names one instance: its namespaces, cgroup, certificates and run state. Two labs with different names run side by
# side with the same addresses, because no network namespace of one is joined to any of the other.
KL=${KL:-${XDG_CACHE_HOME:-$HOME/.cache}/tp/kube-lab}
HERE=${HERE:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
LAB=${LAB:-tpk}
BIN=$KL/bin
RUN=${KL_RUN:-$KL/run/$LAB}   # pid files, logs, sockets, etcd data: removed by down.sh
LOG=$RUN/log
PKI=${PKI_DIR:-$KL/pki/$LAB}

K8S_VERSION=${K8S_VERSION:-1.34.4}       # k8s.io/kubernetes v1.34.4 + staging v0.34.4
COREDNS_VERSION=${COREDNS_VERSION:-1.12.4}

# Topology
NODE_NS=${NODE_NS:-$LAB-node}     # the "cluster host"
USER_NS=${USER_NS:-$LAB-user}     # the "laptop"
NODE_IP=${NODE_IP:-192.168.77.1}
USER_IP=${USER_IP:-192.168.77.2}
NODE_NAME=${NODE_NAME:-$LAB-node}
POD_CIDR=10.244.0.0/16
NODE_POD_CIDR=10.244.0.0/24
SVC_CIDR=10.96.0.0/16
API_SVC_IP=10.96.0.1
DNS_IP=10.96.0.10
API_PORT=${API_PORT:-6443}
KUBECONFIG_FILE=${KUBECONFIG_FILE:-$PKI/kubeconfig}

export PATH=$BIN:/usr/local/go/bin:/usr/sbin:/sbin:$PATH
