{{- /* Names and labels that several templates share. */ -}}

{{- define "tp.selectorLabels" -}}
app: traffic-manager
telepresence: manager
{{- end }}

{{- define "tp.labels" -}}
{{ include "tp.selectorLabels" . }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/created-by: {{ .Release.Service | quote }}
{{- end }}

{{- define "tp.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end -}}
{{ .Values.image.name }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- /* Cluster-scoped objects carry the namespace, so that managers of two namespaces do not meet. */ -}}
{{- define "tp.clusterName" -}}
{{ printf "traffic-manager-%s" .Release.Namespace }}
{{- end }}

{{- /* Rules for pods, when the strategy reads them. */ -}}
{{- define "tp.podRules" -}}
- apiGroups: [""]
  resources: ["pods"]
  verbs: ["list", "watch"]
{{- end }}
