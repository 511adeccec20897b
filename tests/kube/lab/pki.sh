#!/bin/bash
# Make the cluster's certificates and kubeconfigs in $PKI (EC keys: the whole set takes < 1 s).
# Kept between runs; delete $PKI to renew.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/env.sh"
mkdir -p "$PKI"; cd "$PKI"; umask 077
key() { [ -s "$1.key" ] || openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
ca() { # name CN
  [ -s "$1.crt" ] && return; key "$1"
  openssl req -x509 -new -key "$1.key" -days 3650 -subj "/CN=$2" -out "$1.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2>/dev/null
}
cert() { # ca name subj usage san
  [ -s "$2.crt" ] && return; key "$2"
  openssl req -new -key "$2.key" -subj "$3" -out "$2.csr"
  openssl x509 -req -in "$2.csr" -CA "$1.crt" -CAkey "$1.key" -CAcreateserial -days 3650 -out "$2.crt" -extfile <(
    echo "basicConstraints=critical,CA:FALSE"; echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=$4"; [ -z "${5:-}" ] || echo "subjectAltName=$5") 2>/dev/null
  rm -f "$2.csr"
}
ca ca kubernetes-ca
ca front-proxy-ca front-proxy-ca
cert ca apiserver /CN=kube-apiserver serverAuth "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,DNS:$NODE_NAME,IP:127.0.0.1,IP:$NODE_IP,IP:$API_SVC_IP"
cert ca apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
cert front-proxy-ca front-proxy-client /CN=front-proxy-client clientAuth
cert ca kubelet-serving "/O=system:nodes/CN=system:node:$NODE_NAME" serverAuth "DNS:$NODE_NAME,IP:$NODE_IP"
cert ca admin /O=system:masters/CN=admin clientAuth
cert ca controller-manager /CN=system:kube-controller-manager clientAuth
cert ca scheduler /CN=system:kube-scheduler clientAuth
cert ca kube-proxy /CN=system:kube-proxy clientAuth
cert ca kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" clientAuth
# an ordinary, unprivileged user, for RBAC tests (no rights until a RoleBinding names him)
cert ca developer /O=lab:developers/CN=developer clientAuth
[ -s sa.key ] || openssl genrsa -out sa.key 2048 2>/dev/null
[ -s sa.pub ] || openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null

b() { base64 -w0 <"$1"; }
kubeconfig() { # cert-name file server
  cat >"$2" <<K
apiVersion: v1
kind: Config
clusters: [{name: kubelab, cluster: {server: "$3", certificate-authority-data: $(b ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(b $1.crt), client-key-data: $(b $1.key)}}]
contexts: [{name: kubelab, context: {cluster: kubelab, user: $1, namespace: default}}]
current-context: kubelab
K
}
for c in admin controller-manager scheduler kube-proxy kubelet; do kubeconfig $c $c.kubeconfig "https://$NODE_IP:$API_PORT"; done
kubeconfig admin "$KUBECONFIG_FILE" "https://$NODE_IP:$API_PORT"
kubeconfig developer "$PKI/kubeconfig-developer" "https://$NODE_IP:$API_PORT"
