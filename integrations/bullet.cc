/* bullet.cc - Bullet's worlds in a heap of their own: a tower of boxes falls. */
#include <btBulletDynamicsCommon.h>

#include "integrate.h"

/* glue: Bullet passes sizes and alignments. */
HAK_DEFINE_HOOKS(bullet, g_heap);

static void *bullet_aligned(size_t size, int alignment) {
  return bullet_aligned_alloc(static_cast<size_t>(alignment), size);
}
/* glue end: btAlignedAllocSetCustomAligned(bullet_aligned, bullet_free) and
 * btAlignedAllocSetCustom(bullet_malloc, bullet_free) before anything else */

static void begin() {
  btAlignedAllocSetCustom(bullet_malloc, bullet_free);
  btAlignedAllocSetCustomAligned(bullet_aligned, bullet_free);
}
static void end() {
  btAlignedAllocSetCustomAligned(nullptr, nullptr);
  btAlignedAllocSetCustom(nullptr, nullptr);
}

static void build(btDynamicsWorld &world, btCollisionShape &ground,
                  btCollisionShape &box) {
  btRigidBody::btRigidBodyConstructionInfo still(0, nullptr, &ground);
  world.addRigidBody(new btRigidBody(still));
  btVector3 inertia;
  box.calculateLocalInertia(1, inertia);
  for (int i = 0; i < 60; i++) {
    btRigidBody::btRigidBodyConstructionInfo info(1, nullptr, &box, inertia);
    info.m_startWorldTransform.setOrigin(btVector3(
        btScalar(i % 3) * btScalar(1.1), btScalar(2 + i), btScalar(i % 5) / 10));
    world.addRigidBody(new btRigidBody(info));
  }
}

static void take_down(btDynamicsWorld &world) {
  for (int i = world.getNumCollisionObjects() - 1; i >= 0; i--) {
    btCollisionObject *body = world.getCollisionObjectArray()[i];
    world.removeCollisionObject(body);
    delete body;
  }
}

static int work(char *result) {
  btDefaultCollisionConfiguration configuration;
  btCollisionDispatcher dispatcher(&configuration);
  btDbvtBroadphase broadphase;
  btSequentialImpulseConstraintSolver solver;
  btDiscreteDynamicsWorld world(&dispatcher, &broadphase, &solver, &configuration);
  btStaticPlaneShape ground(btVector3(0, 1, 0), 0);
  btBoxShape box(btVector3(btScalar(0.5), btScalar(0.5), btScalar(0.5)));
  build(world, ground, box);
  for (int step = 0; step < 120; step++) world.stepSimulation(btScalar(1) / 60, 0);
  double sum = 0;
  for (int i = 0; i < world.getNumCollisionObjects(); i++) {
    const btVector3 at =
        world.getCollisionObjectArray()[i]->getWorldTransform().getOrigin();
    sum += static_cast<double>(at.x() + 2 * at.y() + 3 * at.z());
  }
  snprintf(result, RESULT_MAX, "%d bodies, %.6f", world.getNumCollisionObjects(), sum);
  take_down(world);
  return 0;
}

int main() {
  static const integration_t bullet = {
      "bullet", 16 << 20, begin, end, work, "Bullet knows no error for it and crashes"};
  return integrate(&bullet);
}
