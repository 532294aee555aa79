-- Health of a WhisperFineTune in Argo CD: the ConfigMap argocd-cm takes this text under the key
-- resource.customizations.health.whisperfinetune.dev_WhisperFineTune
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "The operator has not seen this version yet" }
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(kind, value)
  return conditions[kind] ~= nil and conditions[kind].status == value
end

local function health(name, kind)
  local condition = conditions[kind] or {}
  local text = condition.message
  if text == nil or text == "" then
    text = condition.reason or status.state or ""
  end
  return { status = name, message = text }
end

if is("Succeeded", "True") then
  return health("Healthy", "Succeeded")
end
if is("Succeeded", "False") or is("Stalled", "True") then
  return health("Degraded", "Succeeded")
end
if is("Suspended", "True") then
  return health("Suspended", "Suspended")
end
return health("Progressing", "Reconciling")
