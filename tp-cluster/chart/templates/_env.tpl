{{- /* The manager's environment; lists are separated by spaces. */ -}}
{{- define "tp.env" -}}
- name: LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
- name: SERVER_PORT
  value: {{ int .Values.apiPort | quote }}
- name: GRPC_MAX_RECEIVE_SIZE
  value: {{ .Values.grpc.maxReceiveSize | quote }}
{{- if not .Values.benchSink }}
- name: TP_NO_BENCH_SINK
  value: "true"
{{- end }}
- name: POD_CIDR_STRATEGY
  value: {{ .Values.podCIDRStrategy | quote }}
{{- with .Values.podCIDRs }}
- name: POD_CIDRS
  value: {{ join " " . | quote }}
{{- end }}
{{- if .Values.managerRbac.namespaced }}
- name: MANAGED_NAMESPACES
  value: {{ join " " (default (list .Release.Namespace) .Values.managerRbac.namespaces) | quote }}
{{- end }}
- name: CLIENT_CONNECTION_TTL
  value: {{ .Values.client.connectionTTL | quote }}
{{- with .Values.client.routing.alsoProxySubnets }}
- name: CLIENT_ROUTING_ALSO_PROXY_SUBNETS
  value: {{ join " " . | quote }}
{{- end }}
{{- with .Values.client.routing.neverProxySubnets }}
- name: CLIENT_ROUTING_NEVER_PROXY_SUBNETS
  value: {{ join " " . | quote }}
{{- end }}
{{- with .Values.client.routing.allowConflictingSubnets }}
- name: CLIENT_ROUTING_ALLOW_CONFLICTING_SUBNETS
  value: {{ join " " . | quote }}
{{- end }}
{{- with .Values.client.dns.excludeSuffixes }}
- name: CLIENT_DNS_EXCLUDE_SUFFIXES
  value: {{ join " " . | quote }}
{{- end }}
{{- with .Values.client.dns.includeSuffixes }}
- name: CLIENT_DNS_INCLUDE_SUFFIXES
  value: {{ join " " . | quote }}
{{- end }}
- name: CLIENT_CONFIG_FILE
  value: /etc/traffic-manager/client.yaml
- name: MANAGER_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: POD_IPS
  valueFrom:
    fieldRef:
      fieldPath: status.podIPs
{{- end }}
