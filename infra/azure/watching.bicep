// Alarms for what a person must act on, each with its paragraph in docs/runbook.md, and a workbook. Everything is read from
// the handler's own lines, one JSON object each, which the Functions host passes on to Application Insights.

@description('Where the alarms are.')
param location string

@description('Name of the function app.')
param name string

@description('Who gets the alarms.')
param alarmEmail string

@description('The Log Analytics workspace.')
param workspace string

@description('The function app.')
param app string

@description('Tags of everything.')
param tags object

// A line of the handler's; what the host adds of its own is no JSON.
var lines = 'AppTraces | where Message startswith "{" | extend line = parse_json(Message) | extend said = tostring(line.fields.message)'

// `fewer` rings if there are no lines at all, else one is enough. Windows are those Azure Monitor knows.
var alarms = [
  {
    name: 'ForAPerson'
    severity: 1
    every: 'PT5M'
    window: 'PT5M'
    fewer: false
    query: '${lines} | where tostring(line.level) == "ERROR" or toint(line.fields.page) > 0'
    text: 'Something happened that will not pass by itself. docs/runbook.md#azureforaperson'
  }
  {
    name: 'WorkerMissing'
    severity: 1
    every: 'PT10M'
    window: 'PT30M'
    fewer: true
    query: '${lines} | where said == "sweep" and tostring(line.span.timer) == "worker"'
    text: 'The timer worker has not come to the end of a run for 30 minutes. What failed once is not tried again. docs/runbook.md#azureworkermissing'
  }
  {
    name: 'SweeperMissing'
    severity: 1
    every: 'PT10M'
    window: 'PT30M'
    fewer: true
    query: '${lines} | where said == "sweep" and tostring(line.span.timer) == "sweeper"'
    text: 'The timer sweeper has not come to the end of a run for 30 minutes. Nothing is deleted. docs/runbook.md#azuresweepermissing'
  }
  {
    name: 'MeteringMissing'
    severity: 1
    every: 'PT30M'
    window: 'PT2H'
    fewer: true
    query: 'AppTraces | where Message matches regex @"^\\d+ hours in \\d+ calls, "'
    text: 'The timer metering has not come to the end of a run for two hours. Microsoft takes usage for 24 hours only. docs/runbook.md#azuremeteringmissing'
  }
  {
    name: 'ReconciliationMissing'
    severity: 2
    every: 'PT1H'
    window: 'PT6H'
    fewer: true
    query: '${lines} | where said == "reconciliation: all agrees" or said == "reconciliation: open findings"'
    text: 'No comparison of marketplace, ledger and product has come to its end for six hours. docs/runbook.md#azurereconciliationmissing'
  }
  {
    name: 'OpenFindings'
    severity: 2
    every: 'PT1H'
    window: 'PT1H'
    fewer: false
    query: '${lines} | where said == "reconciliation: open findings" or said == "reconciliation: broken off"'
    text: 'Marketplace, ledger and product differ in something that is not put right by itself. docs/runbook.md#azureopenfindings'
  }
  {
    name: 'UsageLost'
    severity: 1
    every: 'PT5M'
    window: 'PT5M'
    fewer: false
    query: '${lines} | where said == "usage will not be billed"'
    text: 'Usage will not be billed; Microsoft refused it or it was too old. docs/runbook.md#azureusagelost'
  }
  {
    name: 'DeletionsCapped'
    severity: 2
    every: 'PT5M'
    window: 'PT5M'
    fewer: false
    query: '${lines} | where said == "swept" and tostring(line.fields.outcome) == "left for the next run: the cap is reached"'
    text: 'More deletions are due than one run may do. docs/runbook.md#azuredeletionscapped'
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${name}-people'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'tradepost'
    enabled: true
    emailReceivers: [
      {
        name: 'operations'
        emailAddress: alarmEmail
        useCommonAlertSchema: true
      }
    ]
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for alarm in alarms: {
  name: '${name}-${alarm.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Azure${alarm.name}'
    description: alarm.text
    enabled: true
    severity: alarm.severity
    evaluationFrequency: alarm.every
    windowSize: alarm.window
    scopes: [
      workspace
    ]
    criteria: {
      allOf: [
        {
          query: alarm.query
          timeAggregation: 'Count'
          operator: alarm.fewer ? 'LessThan' : 'GreaterThan'
          threshold: alarm.fewer ? 1 : 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    // What is missing rings once, until it is there again. What has happened rings each time: an error that is looked at
    // already must not hide another.
    autoMitigate: alarm.fewer
    // The table is not there before the first line.
    skipQueryValidation: true
    actions: {
      actionGroups: [
        people.id
      ]
    }
  }
}]

resource httpErrors 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-HttpErrors'
  location: 'global'
  tags: tags
  properties: {
    description: 'Buyers or Microsoft were answered with errors five times in five minutes. docs/runbook.md#azurehttperrors'
    enabled: true
    severity: 1
    scopes: [
      app
    ]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'errors'
          metricNamespace: 'Microsoft.Web/sites'
          metricName: 'Http5xx'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 4
        }
      ]
    }
    actions: [
      {
        actionGroupId: people.id
      }
    ]
  }
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, name, 'workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Tradepost: ${name}'
    category: 'workbook'
    sourceId: workspace
    version: '1.0'
    serializedData: loadTextContent('workbook.json')
  }
}
