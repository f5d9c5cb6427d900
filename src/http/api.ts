/** All end-points of `/api/v1`. Each stands in the file of what it is about. */
import { agentRegistrationRoutes } from './agent-registration.js';
import { callRoutes } from './calls.js';
import { eventRoutes } from './events.js';
import { numberRoutes } from './numbers.js';
import { type OpenApiDocument, openApiDocument } from './openapi.js';
import { probeRoutes } from './probe.js';
import { reasonRoutes } from './reasons.js';
import { registrationRoutes } from './registrations.js';
import type { Route } from './route.js';
import { explainRoutes } from './routes-explain.js';
import { targetRoutes } from './targets.js';

export const API_ROUTES: readonly Route[] = [
  ...probeRoutes,
  ...numberRoutes,
  ...agentRegistrationRoutes,
  ...registrationRoutes,
  ...targetRoutes,
  ...callRoutes,
  ...eventRoutes,
  ...reasonRoutes,
  ...explainRoutes,
];

/** The OpenAPI document of all end-points. */
export function apiDocument(version: string): OpenApiDocument {
  return openApiDocument(API_ROUTES, version);
}
