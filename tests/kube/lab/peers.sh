#!/bin/bash
# Build the programs we test ourselves against, from the Go module proxy, into the cache's tools: `helm`, and Telepresence's
# traffic-manager `tp2-traffic` with its chart and an image archive. Idempotent; nothing of it is part of the project.
#   peers.sh [helm|telepresence|client]...        (default: the first two)
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/env.sh"
TOOLS=${TP_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tp/tools}
HELM_VERSION=v3.16.4
TELEPRESENCE=github.com/telepresenceio/telepresence
TELEPRESENCE_VERSION=v2.20.2
export GOCACHE=${KL_GOCACHE:-$KL/gocache} GOFLAGS="-buildvcs=false" CGO_ENABLED=0
NICE="nice -n 15"
mkdir -p "$TOOLS/bin" "$TOOLS/src" "$TOOLS/stamps" "$TOOLS/charts" "$TOOLS/images"

have() { [ -e "$2" ] && [ "$(cat "$TOOLS/stamps/$1" 2>/dev/null)" = "$3" ]; }
done_with() { echo "$2" >"$TOOLS/stamps/$1"; echo "[peers] $1 $2" >&2; }

helm() {
  have helm "$TOOLS/bin/helm" $HELM_VERSION && return
  GOBIN=$TOOLS/bin $NICE go install -p 2 -trimpath -ldflags "-s -w" "helm.sh/helm/v3/cmd/helm@$HELM_VERSION"
  done_with helm $HELM_VERSION
}

# The module replaces its rpc module by a directory, so it cannot be installed as it is: a module of our own requires what it
# requires, and the published rpc module.
telepresence() {
  local stamp; stamp="$TELEPRESENCE_VERSION $(cksum <"$HERE/peers.sh")"
  local image=$TOOLS/images/telepresence.tar
  have telepresence "$image" "$stamp" && return
  local src=$TOOLS/src/telepresence json mod dir
  mkdir -p "$src"; cd "$src"
  printf 'module peer\ngo 1.23.1\n' >go.mod; rm -f go.sum
  json=$(go mod download -json "$TELEPRESENCE/v2@$TELEPRESENCE_VERSION")
  mod=$(sed -n 's/.*"GoMod": "\(.*\)",/\1/p' <<<"$json"); dir=$(sed -n 's/.*"Dir": "\(.*\)",/\1/p' <<<"$json")
  { echo "module peer"; grep -E '^go ' "$mod"
    awk '/^require \(/{p=1} p{print} /^\)/{p=0}' "$mod"
    echo "require $TELEPRESENCE/v2 $TELEPRESENCE_VERSION"
    echo "replace $TELEPRESENCE/rpc/v2 => $TELEPRESENCE/rpc/v2 $TELEPRESENCE_VERSION"; } >go.mod
  telepresence_program traffic tp2-traffic
  # the module's chart has no version and may lack what its release script adds: completed here
  rm -rf "$TOOLS/charts/telepresence"; cp -r "$dir/charts/telepresence" "$TOOLS/charts/"; chmod -R u+w "$TOOLS/charts"
  sed -i "/^version:/d; /^appVersion:/d" "$TOOLS/charts/telepresence/Chart.yaml"
  printf '\nversion: %s\nappVersion: %s\n' "${TELEPRESENCE_VERSION#v}" "${TELEPRESENCE_VERSION#v}" >>"$TOOLS/charts/telepresence/Chart.yaml"
  mkimage -o "$image" -ref "lab.local/tel2:${TELEPRESENCE_VERSION#v}" -entrypoint /traffic -dir /tmp "$TOOLS/bin/tp2-traffic:/traffic:755" >/dev/null
  done_with telepresence "$stamp"
}

# One of the module's programs, under this name.
telepresence_program() {
  GOFLAGS="$GOFLAGS -mod=mod" $NICE go build -p 2 -trimpath \
    -ldflags "-s -w -X $TELEPRESENCE/v2/pkg/version.Version=$TELEPRESENCE_VERSION" -o "$TOOLS/bin/$2" "$TELEPRESENCE/v2/cmd/$1"
}

# Its client, for the benchmark alone.
client() {
  local dir
  have client "$TOOLS/bin/telepresence" $TELEPRESENCE_VERSION && return
  telepresence
  cd "$TOOLS/src/telepresence"
  # its own sums, so that nobody has to be asked for those of what only the client needs
  dir=$(go list -m -mod=mod -f '{{.Dir}}' "$TELEPRESENCE/v2")
  sort -u -o go.sum go.sum "$dir/go.sum"
  telepresence_program telepresence telepresence
  done_with client $TELEPRESENCE_VERSION
}

[ $# -gt 0 ] || set -- helm telepresence
for what; do ( "$what" ); done
