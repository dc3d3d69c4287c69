{{/* The operator's rights where its pools are. No right to read a Secret: it only makes the pools' own. */}}
{{- define "agentpool.rules" -}}
- {apiGroups: [agentpool.dev], resources: [agentpools, costbudgets], verbs: [list, watch]}
- {apiGroups: [agentpool.dev], resources: [agentpools/status, costbudgets/status], verbs: [patch]}
# Where a pool's policy is External, the size the pool has, for an autoscaler to begin from.
- {apiGroups: [agentpool.dev], resources: [agentpools/scale], verbs: [patch]}
- {apiGroups: [apps], resources: [deployments], verbs: [get, list, watch, create, patch]}
- {apiGroups: [""], resources: [services, configmaps, serviceaccounts], verbs: [get, list, watch, create, patch]}
- {apiGroups: [policy], resources: [poddisruptionbudgets], verbs: [get, list, watch, create, patch]}
# A patch sets the deletion cost of idle pods before a scale-in.
- {apiGroups: [""], resources: [pods], verbs: [list, watch, patch]}
- {apiGroups: [""], resources: [secrets], verbs: [create]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
# Its own Lease comes back through a watch: that proves that events flow.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "agentpool.operatorName" . }}]
  verbs: [list, watch]
{{- end -}}

{{/* Where the Lease is kept: at home, or in the first watched namespace, so that Roles suffice. */}}
{{- define "agentpool.leaseNamespace" -}}
{{- if or (not .Values.watchNamespaces) (has .Release.Namespace .Values.watchNamespaces) -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- first .Values.watchNamespaces -}}
{{- end -}}
{{- end -}}
