{{/* What all templates share: names, labels, the pod of a worker. */}}

{{- define "clearline.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 30 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 30 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "clearline.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "clearline.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "clearline.selector" . }}
{{- end -}}

{{/* Image of a worker; call with (dict "root" $ "gpus" N). */}}
{{- define "clearline.image" -}}
{{- $image := .root.Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{- $variant := ternary "cuda" "cpu" (gt (int .gpus) 0) -}}
{{ $image.repository }}:{{ $image.tag | default (printf "%s-%s" .root.Chart.AppVersion $variant) }}
{{- end -}}
{{- end -}}

{{- define "clearline.line" -}}
{{ required "line: expected the text of a configuration; pass --set-file line=LINE.yaml" .Values.line }}
{{- end -}}

{{- define "clearline.topic" -}}
{{ .Values.kafka.topicsPrefix }}.frames.v1
{{- end -}}

{{/* {name: configuration} of the capture deployments, as YAML. */}}
{{- define "clearline.captures" -}}
{{- if .Values.capture.enabled -}}
{{- if .Values.capture.lines -}}
{{- range $name, $text := .Values.capture.lines }}
{{ printf "capture-%s" $name }}: {{ $text | quote }}
{{- end }}
{{- else -}}
capture: {{ include "clearline.line" . | quote }}
{{- end -}}
{{- end -}}
{{- end -}}
