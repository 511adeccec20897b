#!/bin/bash
# Check the running cluster end to end; prints one line per check, exit status 1 if any failed.
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/env.sh"
U="$HERE/user"; N="$HERE/node"; K="$U kubectl"; bad=0
ok() { local name=$1; shift; local out; if out=$("$@" 2>&1); then printf 'ok    %-58s %s\n' "$name" "$(echo "$out" | tr '\n' ' ' | cut -c1-110)"; else printf 'FAIL  %-58s %s\n' "$name" "$(echo "$out" | tr '\n' ' ' | cut -c1-300)"; bad=1; fi; }
no() { local name=$1; shift; if "$@" >/dev/null 2>&1; then printf 'FAIL  %-58s (should not work)\n' "$name"; bad=1; else printf 'ok    %s\n' "$name"; fi; }
$K get --raw /readyz >/dev/null || { echo "cluster not up" >&2; exit 1; }
P=$($K get pod -l app=echo -o jsonpath='{.items[0].metadata.name}'); PIP=$($K get pod "$P" -o jsonpath='{.status.podIP}')
SIP=$($K get svc echo -o jsonpath='{.spec.clusterIP}')
ok "node Ready" $K wait --for=condition=Ready "node/$NODE_NAME" --timeout=5s
ok "all pods Ready" $K wait --for=condition=Ready pod --all -A --timeout=30s
ok "server version" bash -c "$K version | tail -1"
ok "kubectl logs" bash -c "$K logs $P | head -1"
ok "kubectl exec" $K exec "$P" -- hostname
ok "kubectl exec -i (stdin)" bash -c "echo through-stdin | $K exec -i $P -- cat | grep through-stdin"
ok "kubectl cp style tar-less copy, 20 MB" bash -c "test \$(head -c 20000000 /dev/zero | $K exec -i $P -- sh -c 'cat | busybox wc -c') = 20000000"
ok "pod resolves service (short name)" $K exec "$P" -- echo-server dns echo.default.svc.cluster.local
ok "pod resolves other namespace" $K exec "$P" -- echo-server dns echo.blue
ok "pod resolves headless stateful pod" $K exec "$P" -- echo-server dns db-0.db.default.svc.cluster.local
ok "pod resolves SRV" $K exec "$P" -- echo-server srv _http._tcp.db.default.svc.cluster.local
ok "pod resolves name only the cluster's DNS knows" $K exec "$P" -- echo-server dns only-in-cluster.example
ok "pod -> service HTTP" bash -c "$K exec $P -- echo-server get http://echo/ | grep -E 'remote|\"pod\"'"
ok "pod -> own service 20x (hairpin included)" bash -c "$K exec $P -- sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo-server get http://echo/ || exit 1; done' | grep '\"pod\"' | sort | uniq -c"
ok "pod -> service, other namespace" bash -c "$K exec $P -- echo-server get http://echo.blue/ | grep '\"pod\"'"
ok "pod -> TCP echo service" $K exec "$P" -- echo-server tcp echo:7777 ping
ok "pod -> UDP echo service" $K exec "$P" -- echo-server udp echo:7777 ping
ok "pod -> TCP who service" $K exec "$P" -- echo-server tcp echo:7778
ok "pod -> UDP who service" $K exec "$P" -- echo-server udp echo:7778 x
ok "pod -> API server by service address" bash -c "$K exec $P -- wget -q -O - --no-check-certificate https://kubernetes.default/healthz"
ok "pod -> pod download 200 MB" $K exec "$P" -- echo-server get "http://db-0.db:8080/download?bytes=200000000"
ok "pod -> pod upload 200 MB" $K exec "$P" -- echo-server post http://db-1.db:8080/upload 200000000
ok "node -> service address" "$N" curl -s -m 5 "http://$SIP/healthz"
ok "service-account token mounted" $K exec "$P" -- cat /var/run/secrets/kubernetes.io/serviceaccount/namespace
# port-forward as the laptop
$K port-forward svc/echo 18080:80 >"$RUN/pf.log" 2>&1 & pf=$!
for i in $(seq 50); do grep -q Forwarding "$RUN/pf.log" && break; sleep 0.1; done
ok "laptop: port-forward HTTP" bash -c "$U curl -s -m 5 http://127.0.0.1:18080/ | grep -E '\"pod\"'"
ok "laptop: port-forward download 100 MB" bash -c "$U curl -s -m 60 -o /dev/null -w '%{size_download} bytes %{speed_download} B/s' 'http://127.0.0.1:18080/download?bytes=100000000'"
kill $pf
KUBECTL_PORT_FORWARD_WEBSOCKETS=false $K port-forward pod/db-0 18081:8080 >"$RUN/pf.log" 2>&1 & pf=$!
for i in $(seq 50); do grep -q Forwarding "$RUN/pf.log" && break; sleep 0.1; done
ok "laptop: port-forward over SPDY" bash -c "$U curl -s -m 5 http://127.0.0.1:18081/ | grep -E '\"pod\"'"
kill $pf
ok "kubelet stats through the API server" bash -c "$K get --raw /api/v1/nodes/$NODE_NAME/proxy/stats/summary | grep -c podRef"
# the API server reaches a service from the node (admission webhooks, e.g. Telepresence's agent injector).
# echo speaks plain HTTP on that port, so the webhook fails with exactly that complaint: it was reached
wh=$(mktemp); cat >"$wh" <<W
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: lab-verify}
webhooks:
- name: verify.lab.local
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 5
  objectSelector: {matchLabels: {lab-verify: "1"}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  clientConfig: {service: {namespace: default, name: echo, port: 80}}
W
ok "API server -> webhook service" bash -c "$K apply -f $wh >/dev/null && sleep 1; printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {lab-verify: \"1\"}}\n' | $K create -f - 2>&1 | grep -o 'server gave HTTP response.*'"
$K delete -f "$wh" >/dev/null; rm -f "$wh"
# isolation
no "laptop has no way to a pod address" $U curl -s -m 2 "http://$PIP:8080/healthz"
no "laptop has no way to a service address" $U curl -s -m 2 "http://$SIP/healthz"
ok "laptop: API server only through the node address" bash -c "$U curl -sk -m 3 -o /dev/null -w '%{http_code}' https://$NODE_IP:$API_PORT/livez"
ok "laptop's routes" bash -c "$U ip route"
no "unprivileged user may not list pods" env KUBECONFIG_LAB="$PKI/kubeconfig-developer" $K get pods
# life cycle
ok "scale down and up" bash -c "$K scale deploy/echo --replicas=1 && $K rollout status deploy/echo --timeout=30s && $K scale deploy/echo --replicas=2 && $K rollout status deploy/echo --timeout=30s"
P=$($K get pod -l app=echo -o jsonpath='{.items[0].metadata.name}')
ok "delete pod, replaced" bash -c "$K delete pod $P --wait --timeout=30s && $K rollout status deploy/echo --timeout=30s"
exit $bad
