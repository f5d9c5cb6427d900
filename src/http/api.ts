/** All end-points of `/api/v1`. Each stands in the file of what it is about. */

import { agentRegistrationRoutes } from './agent-registration.js';
import { agentRoutes } from './agents.js';
import { auditRoutes } from './audit.js';
import { callRoutes } from './calls.js';
import { cpsKeyRoutes } from './cps-keys.js';
import { credentialsRoutes } from './credentials.js';
import { eventRoutes } from './events.js';
import { numberRoutes } from './numbers.js';
import { importRoutes } from './numbers-import.js';
import { type OpenApiDocument, openApiDocument } from './openapi.js';
import { organizationRoutes } from './organizations.js';
import { probeRoutes } from './probe.js';
import { providerRoutes } from './providers.js';
import { reasonRoutes } from './reasons.js';
import { registrationRoutes } from './registrations.js';
import type { Route } from './route.js';
import { explainRoutes } from './routes-explain.js';
import { sipTrunkRoutes } from './sip-trunks.js';
import { targetRoutes } from './targets.js';
import { tokenRoutes } from './tokens.js';
import { traceRoutes } from './traces.js';
import { webhookRoutes } from './webhooks.js';

export const API_ROUTES: readonly Route[] = [
  ...credentialsRoutes,
  ...probeRoutes,
  ...sipTrunkRoutes,
  ...numberRoutes,
  ...importRoutes,
  ...agentRoutes,
  ...agentRegistrationRoutes,
  ...registrationRoutes,
  ...targetRoutes,
  ...callRoutes,
  ...traceRoutes,
  ...cpsKeyRoutes,
  ...eventRoutes,
  ...webhookRoutes,
  ...providerRoutes,
  ...reasonRoutes,
  ...explainRoutes,
  ...organizationRoutes,
  ...tokenRoutes,
  ...auditRoutes,
];

/** The OpenAPI document of all end-points. */
export function apiDocument(version: string): OpenApiDocument {
  return openApiDocument(API_ROUTES, version);
}
