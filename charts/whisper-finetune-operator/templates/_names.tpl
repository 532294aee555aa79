{{- define "operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "operator.fullname" -}}
{{- $name := include "operator.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The runtimes file. */}}
{{- define "operator.runtimes" -}}
{{- $names := list -}}
{{- range .Values.runtimes }}{{ $names = append $names .name }}{{ end -}}
{{- $file := dict "runtimes" .Values.runtimes -}}
{{- with .Values.defaultRuntime -}}
{{- if not (has . $names) }}{{ fail (printf "defaultRuntime %s is none of runtimes: %s" . (join ", " $names)) }}{{ end -}}
{{- $_ := set $file "defaultRuntime" . -}}
{{- end -}}
{{- toYaml $file -}}
{{- end -}}

{{/* In one namespace where the operator watches one, else in the whole cluster: the kinds of role and binding. */}}
{{- define "operator.scope" -}}
{{- if .Values.watchNamespace }}{{ else }}Cluster{{ end -}}
{{- end -}}

{{/* Where the Leases of V-IPU partitions lie. */}}
{{- define "operator.partitionNamespace" -}}
{{- .Values.partitionNamespace | default .Release.Namespace -}}
{{- end }}

{{/* Whether some runtime makes IPUJobs; empty: none. */}}
{{- define "operator.hasIPUJobs" -}}
{{- range .Values.runtimes }}{{ if eq (default "Job" .workload) "IPUJob" }}true{{ end }}{{ end }}
{{- end }}
