{{- define "operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* A Service is named after it: one DNS label that begins with a letter. */}}
{{- define "operator.fullname" -}}
{{- $name := include "operator.name" . -}}
{{- $release := replace "." "-" .Release.Name -}}
{{- $full := ternary $release (printf "%s-%s" $release $name) (contains $name $release) -}}
{{- $full = default $full .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]" $full) -}}
{{- fail (printf "the name %s must begin with a letter: name the release so, or set fullnameOverride" $full) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/* By its digest, where that is given: not every container runtime takes a tag beside it. */}}
{{- define "operator.image" -}}
{{- $repository := required "image.repository is needed" (.Values.image).repository -}}
{{- with (.Values.image).digest -}}
{{- printf "%s@%s" $repository . -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion (.Values.image).tag) -}}
{{- end -}}
{{- end -}}

{{- define "operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | quote }}
{{- end -}}

{{- define "operator.serviceAccountName" -}}
{{- if (.Values.serviceAccount).create -}}
{{- default (include "operator.fullname" .) (.Values.serviceAccount).name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" (.Values.serviceAccount).name -}}
{{- end -}}
{{- end -}}

{{/* The runtimes file. */}}
{{- define "operator.runtimes" -}}
{{- $names := list -}}
{{- range .Values.runtimes }}{{ $names = append $names .name }}{{ end -}}
{{- $file := dict "runtimes" .Values.runtimes -}}
{{- with .Values.defaultRuntime -}}
{{- if not (has . $names) }}{{ fail (printf "defaultRuntime %s is not one of runtimes: %s" . (join ", " $names)) }}{{ end -}}
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

{{/* The kinds of workload that the operator needs rights to: those of every Kubernetes, those that a runtime makes, and those that are kept. */}}
{{- define "operator.kinds" -}}
{{- $known := .Files.Get "files/kinds.yaml" | fromYaml }}
{{- $made := list }}
{{- range .Values.runtimes }}{{ $made = append $made (default $known.default .workload) }}{{ end }}
{{- $used := dict }}
{{- range $name, $kind := $known.kinds }}
{{- if or $kind.builtIn (has $name $made) (get (default dict $.Values.rbac) (printf "keep%ss" $name)) }}{{ $_ := set $used $name $kind }}{{ end }}
{{- end }}
{{- toYaml $used }}
{{- end }}
