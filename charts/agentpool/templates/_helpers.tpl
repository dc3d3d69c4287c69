{{/* Name of the release's objects: the release's name, with the chart's where that says nothing. */}}
{{- define "agentpool.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "agentpool.operatorName" -}}{{ include "agentpool.fullname" . }}-operator{{- end -}}
{{- define "agentpool.redisName" -}}{{ include "agentpool.fullname" . }}-redis{{- end -}}

{{/* Labels that never change, for selectors. Call with (list $ "component"). */}}
{{- define "agentpool.selectorLabels" -}}
app.kubernetes.io/name: agentpool
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "agentpool.labels" -}}
{{ include "agentpool.selectorLabels" . }}
app.kubernetes.io/part-of: agentpool
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end -}}

{{/* Call with (list $ .Values.images.x). */}}
{{- define "agentpool.image" -}}
{{- $image := index . 1 -}}
{{ $image.repository }}:{{ $image.tag | default (index . 0).Chart.AppVersion }}
{{- end -}}

{{- define "agentpool.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What every container of the chart may not do. */}}
{{- define "agentpool.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "agentpool.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "agentpool.redisUrl" -}}
{{- .Values.redis.url | default (printf "redis://%s.%s.svc:6379/0" (include "agentpool.redisName" .) .Release.Namespace) -}}
{{- end -}}

{{- define "agentpool.redisPasswordSecret" -}}
{{- .Values.redis.passwordSecret.name | default (ternary "" (include "agentpool.redisName" .) (ne .Values.redis.url "")) -}}
{{- end -}}

{{- define "agentpool.redisPasswordKey" -}}
{{- ternary .Values.redis.passwordSecret.key "password" (ne .Values.redis.passwordSecret.name "") -}}
{{- end -}}

{{/* How the operator and the test reach Redis. */}}
{{- define "agentpool.redisEnv" -}}
- name: AGENTPOOL_REDIS_URL
  value: {{ include "agentpool.redisUrl" . | quote }}
{{- with include "agentpool.redisPasswordSecret" . }}
- name: AGENTPOOL_REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ include "agentpool.redisPasswordKey" $ }}
{{- end }}
{{- if .Values.redis.caSecret.name }}
- name: AGENTPOOL_REDIS_CA_FILE
  value: /etc/agentpool/redis-ca/ca.crt
{{- end }}
{{- end -}}

{{/* What no schema can say. */}}
{{- define "agentpool.check" -}}
{{- if regexMatch "^[a-z]+://[^/]*@" .Values.redis.url -}}
{{- fail "redis.url holds a user or password: take it out, put the password into a Secret and name that in redis.passwordSecret.name" -}}
{{- end -}}
{{- if not (regexMatch "^(rediss?://[^/]+.*)?$" .Values.redis.url) -}}
{{- fail (printf "redis.url %q is no address of a Redis: write it like redis://host:6379/0, or rediss://host:6380/0 with TLS" .Values.redis.url) -}}
{{- end -}}
{{- if not (regexMatch "^[1-9][0-9]*(kb|mb|gb)$" .Values.redis.maxMemory) -}}
{{- fail (printf "redis.maxMemory %q is no size as Redis writes it: use for example 200mb or 2gb" .Values.redis.maxMemory) -}}
{{- end -}}
{{- range .Values.watchNamespaces -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .) -}}
{{- fail (printf "watchNamespaces holds %q, which is no namespace: use lower case letters, digits and '-'" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.redis.caSecret.name (not (hasPrefix "rediss://" .Values.redis.url)) -}}
{{- fail "redis.caSecret.name is for TLS: set redis.url to a rediss:// address, or leave the Secret out" -}}
{{- end -}}
{{- if and .Values.redis.url .Values.redis.persistence.enabled -}}
{{- fail "redis.persistence is about the chart's own Redis: set it to false while redis.url names yours" -}}
{{- end -}}
{{- if and .Values.watchNamespaces (ne (len .Values.watchNamespaces) (len (uniq .Values.watchNamespaces))) -}}
{{- fail "watchNamespaces names a namespace twice: name each once" -}}
{{- end -}}
{{- end -}}

{{- define "agentpool.volumes" -}}
{{- if .Values.redis.caSecret.name }}
volumes:
  - name: redis-ca
    secret:
      secretName: {{ .Values.redis.caSecret.name }}
      items: [{key: {{ .Values.redis.caSecret.key }}, path: ca.crt}]
{{- end }}
{{- end -}}
