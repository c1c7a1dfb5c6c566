// Tradepost's functions on Azure: a function app on Flex Consumption with an identity of its own, which reaches the ledger
// in DynamoDB without stored keys. Storage takes no keys, secrets are in Key Vault, logs in Application Insights.
//
// docs/deploy-azure.md says in which order what is done, and what of this file has been checked and what has not.

targetScope = 'resourceGroup'

@description('Where everything is. Must offer Flex Consumption.')
param location string = resourceGroup().location

@description('Name of the function app, and with it of its address. Unique in the whole of Azure.')
@minLength(3)
@maxLength(40)
param name string

@description('Who gets the alarms.')
param alarmEmail string

@description('The DynamoDB table: output TableName of the stack on AWS.')
param table string

@description('Where that table is: output TableRegion.')
param awsRegion string = 'us-east-1'

@description('The role that may use it: output AzureRoleArn. Empty until that stack knows this identity.')
param awsRole string = ''

@description('Application ID URI of the application that stands for AWS; AzureAudience of the stack on AWS.')
param awsAudience string = 'api://aws-ledger'

@description('Tenant of the offer\'s technical configuration.')
param marketplaceTenant string = subscription().tenantId

@description('Application of the offer\'s technical configuration.')
param marketplaceApp string

@description('The multitenant application that buyers sign in to.')
param buyerApp string

@description('Where Entra\'s tokens for the publisher come from: v2, or v1 if v2 gives none.')
@allowed(['v1', 'v2'])
param marketplaceTokens string = 'v2'

@description('Address of the control plane of your product, https.')
param controlPlaneUrl string

@description('JSON list of sign-in methods, as SignInMethods on AWS.')
param signInMethods string

@description('Where the pages are, https, without a slash at the end. Empty means the app\'s own address with /api.')
param publicUrl string = ''

@description('Where events go. Empty keeps them without sending.')
param eventsUrl string = ''

@description('The mail server. Empty sends no e-mails.')
param smtpUrl string = ''

@description('The kill switch. With off, nothing is ever deleted; everything else goes on.')
@allowed(['on', 'off'])
param deletions string = 'on'

@description('At most so many deployments are deleted in one run of the sweeper.')
@minValue(0)
@maxValue(10000)
param deletionCap int = 100

@description('With on, the sweeper only says what it would do.')
@allowed(['on', 'off'])
param dryRun string = 'off'

@description('How loud the log is. Alarms and workbook read lines of INFO, so it is no quieter than that.')
@allowed(['INFO', 'DEBUG'])
param logLevel string = 'INFO'

@description('Whether tries in vain are counted by source. off behind a proxy of your own.')
@allowed(['on', 'off'])
param limits string = 'on'

@description('Instances for pages and webhooks that are always ready, and always paid. At least one if your policy refuses any change of plan or seats: that answer has to be there within ten seconds.')
@minValue(0)
@maxValue(20)
param alwaysReady int = 0

@description('Memory of an instance, MB.')
@allowed([512, 2048, 4096])
param instanceMemory int = 512

@description('Instances at most, for all functions together.')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 40

@description('Origins of pages of your own that ask for the status. The platform answers their preflight itself.')
param origins array = []

@description('Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logDays int = 400

@description('Name of the secret in the vault; its text is the JSON in docs/deploy-azure.md.')
param secretName string = 'tradepost'

@description('Tags of everything.')
param tags object = {
  application: 'tradepost'
}

var unique = uniqueString(resourceGroup().id, name)
var packages = 'packages'
var address = empty(publicUrl) ? 'https://${name}.azurewebsites.net/api' : publicUrl

// ---- Identity ----

// Assigned, not the app's own: AWS and the publisher's application trust it by its object id, which must outlive the app.
resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${name}-identity'
  location: location
  tags: tags
}

// ---- Storage: packages, and what the host notes of its timers ----

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  // checkov:skip=CKV_AZURE_35: without a network of its own the app comes from anywhere; who may do what, roles say
  // checkov:skip=CKV_AZURE_206: nothing there is worth a copy elsewhere; the ledger is not there
  // checkov:skip=CKV_AZURE_43: the check does not see that the name is put together from small letters and digits
  // checkov:skip=CKV_AZURE_59: without a network of its own the app comes from anywhere
  name: 'tp${unique}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: storage
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: packages
  properties: {
    publicAccess: 'None'
  }
}

// ---- Secrets ----

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  // checkov:skip=CKV_AZURE_109: without a network of its own the app comes from anywhere; who may read, roles say
  // checkov:skip=CKV_AZURE_189: as above
  name: 'tp-${unique}'
  location: location
  tags: tags
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Allow'
    }
  }
}

// ---- Logs ----

resource logs 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: '${name}-logs'
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: logDays
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: '${name}-insights'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: logs.id
    IngestionMode: 'LogAnalytics'
    DisableLocalAuth: true
  }
}

// ---- Who may do what ----

var roles = {
  blobs: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner
  queues: '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor
  tables: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor
  metrics: '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher
  secrets: '4633458b-17de-408a-b874-0445c86b69e6' // Key Vault Secrets User
}

resource mayBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, identity.id, roles.blobs)
  scope: storage
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobs)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource mayQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, identity.id, roles.queues)
  scope: storage
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.queues)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource mayTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, identity.id, roles.tables)
  scope: storage
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.tables)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource mayMetrics 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, identity.id, roles.metrics)
  scope: insights
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.metrics)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource maySecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, identity.id, roles.secrets)
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.secrets)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

// ---- The function app ----

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  // checkov:skip=CKV_AZURE_225: zones are a question of price, and not every region has them
  name: '${name}-plan'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  // checkov:skip=CKV_AZURE_17: buyers and Microsoft have no certificate of ours; the handler checks what each brings
  // checkov:skip=CKV_AZURE_212: Flex Consumption starts instances as they are needed; alwaysReady keeps some
  // checkov:skip=CKV_AZURE_213: Flex Consumption replaces instances by itself
  // checkov:skip=CKV_AZURE_222: buyers and Microsoft come from anywhere
  name: name
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    publicNetworkAccess: 'Enabled'
    keyVaultReferenceIdentity: identity.id
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packages}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReady == 0 ? [] : [
          {
            name: 'http'
            instanceCount: alwaysReady
          }
        ]
      }
      runtime: {
        name: 'custom'
        version: '1.0'
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      // The platform's log of requests would keep the query, and with it buyers' tokens. For the same reason there are no
      // diagnostic settings with AppServiceHTTPLogs.
      httpLoggingEnabled: false
      detailedErrorLoggingEnabled: false
      requestTracingEnabled: false
      cors: {
        allowedOrigins: origins
        supportCredentials: false
      }
      appSettings: [
        { name: 'AzureWebJobsStorage__credential', value: 'managedidentity' }
        { name: 'AzureWebJobsStorage__clientId', value: identity.properties.clientId }
        // The host looks for the name before it looks for the addresses, and at its start not always for those.
        { name: 'AzureWebJobsStorage__accountName', value: storage.name }
        { name: 'AzureWebJobsStorage__blobServiceUri', value: storage.properties.primaryEndpoints.blob }
        { name: 'AzureWebJobsStorage__queueServiceUri', value: storage.properties.primaryEndpoints.queue }
        { name: 'AzureWebJobsStorage__tableServiceUri', value: storage.properties.primaryEndpoints.table }
        { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: insights.properties.ConnectionString }
        { name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING', value: 'ClientId=${identity.properties.clientId};Authorization=AAD' }
        { name: 'TRADEPOST_TABLE', value: table }
        { name: 'TRADEPOST_PUBLIC_URL', value: address }
        { name: 'TRADEPOST_CONTROL_PLANE_URL', value: controlPlaneUrl }
        { name: 'TRADEPOST_EVENTS_URL', value: eventsUrl }
        { name: 'TRADEPOST_SMTP_URL', value: smtpUrl }
        { name: 'TRADEPOST_SIGN_IN', value: signInMethods }
        { name: 'TRADEPOST_SECRETS', value: '@Microsoft.KeyVault(SecretUri=${vault.properties.vaultUri}secrets/${secretName})' }
        { name: 'TRADEPOST_AZURE_TENANT', value: marketplaceTenant }
        { name: 'TRADEPOST_AZURE_APP', value: marketplaceApp }
        { name: 'TRADEPOST_AZURE_BUYER_APP', value: buyerApp }
        { name: 'TRADEPOST_AZURE_TOKENS', value: marketplaceTokens }
        { name: 'TRADEPOST_IDENTITY_CLIENT_ID', value: identity.properties.clientId }
        { name: 'TRADEPOST_AWS_REGION', value: awsRegion }
        { name: 'TRADEPOST_AWS_ROLE', value: awsRole }
        { name: 'TRADEPOST_AWS_AUDIENCE', value: awsAudience }
        { name: 'TRADEPOST_DELETIONS', value: deletions }
        { name: 'TRADEPOST_DELETION_CAP', value: string(deletionCap) }
        { name: 'TRADEPOST_DRY_RUN', value: dryRun }
        { name: 'TRADEPOST_LIMITS', value: limits }
        { name: 'TRADEPOST_LOG_LEVEL', value: logLevel }
      ]
    }
  }
  // What the app needs as soon as it starts.
  dependsOn: [
    container
    mayBlobs
    mayQueues
    mayTables
    mayMetrics
    maySecrets
  ]
}

// No publishing with a password.
resource noFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource noScm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

// ---- Alarms and workbook ----

module watching 'watching.bicep' = {
  name: '${name}-watching'
  params: {
    location: location
    name: name
    alarmEmail: alarmEmail
    workspace: logs.id
    app: app.id
    tags: tags
  }
}

@description('AzurePrincipal of the stack on AWS.')
output principalId string = identity.properties.principalId

@description('AzureTenant of the stack on AWS.')
output tenantId string = subscription().tenantId

@description('Partner Center, Technical configuration: landing page URL.')
output landingPage string = '${address}/azure/landing'

@description('Partner Center, Technical configuration: connection webhook.')
output webhook string = '${address}/azure/webhook'

@description('Redirect address at the identity providers.')
output signInCallback string = '${address}/sign-in/callback'

@description('Redirect address of the application that buyers sign in to.')
output buyerCallback string = '${address}/azure/callback'

@description('Where the secret belongs.')
output vaultName string = vault.name

@description('Where packages go; whoever publishes needs Storage Blob Data Contributor there.')
output storageName string = storage.name
