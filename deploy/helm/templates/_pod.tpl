{{/* The pod of a worker; call with (dict "root" $ "name" NAME "role" ROLE "config" CONFIGMAP "args" LIST "text" LINE "gpus" N
     "serves" BOOL "resources" MAP "nodeSelector" MAP "tolerations" LIST). */}}
{{- define "clearline.pod" -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- include "clearline.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
    clearline/deployment: {{ .name }}
  annotations:
    checksum/line: {{ .text | sha256sum }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add $values.shutdownSeconds 10 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "clearline.image" . | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: {{ toJson .args }}
      env: {{- include "clearline.env" .root | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      resources:
        {{- toYaml .resources | nindent 8 }}
      {{- if .serves }}
      ports:
        - {name: status, containerPort: {{ $values.port }}, protocol: TCP}
      # the port opens once the encoder is loaded and has given the expected values: minutes, where weights are fetched
      startupProbe:
        httpGet: {path: /healthz, port: status}
        periodSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: status}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet: {path: /readyz, port: status}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      {{- end }}
      volumeMounts: {{- include "clearline.mounts" .root | nindent 8 }}
  volumes: {{- include "clearline.volumes" . | nindent 4 }}
  {{- with .nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "clearline.env" -}}
- {name: KAFKA_BOOTSTRAP, value: {{ .Values.kafka.bootstrap | quote }}}
- {name: KAFKA_TOPICS_PREFIX, value: {{ .Values.kafka.topicsPrefix | quote }}}
- {name: KAFKA_GROUP, value: {{ .Values.kafka.group | quote }}}
{{- range $name, $value := .Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- range .Values.secretEnv }}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}}
{{- end }}
{{- end -}}

{{- define "clearline.mounts" -}}
- {name: line, mountPath: /etc/clearline, readOnly: true}
- {name: runs, mountPath: /app/runs}
- {name: tmp, mountPath: /tmp}
{{- if .Values.heads.claim }}
- {name: heads, mountPath: /app/runs/heads, readOnly: true}
{{- end }}
{{- range .Values.secretFiles }}
- {name: secret-{{ .name }}, mountPath: /run/secrets/{{ .name }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "clearline.volumes" -}}
- name: line
  configMap: {name: {{ include "clearline.name" .root }}-{{ .config }}}
- name: runs
  emptyDir: {sizeLimit: {{ .root.Values.scratch.size }}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- with .root.Values.heads.claim }}
- name: heads
  persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
{{- end }}
{{- range .root.Values.secretFiles }}
- name: secret-{{ .name }}
  secret: {secretName: {{ .secret }}, defaultMode: 0440}
{{- end }}
{{- end -}}
