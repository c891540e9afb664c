/* Native code that runs when the file is loaded as a library: shows whether an engine
 * that is handed a shared object in place of a module loads it. */
#include "guest.h"

__attribute__((constructor)) static void loaded(void) {
    announce("shared-object", 0, (char *[]){NULL});
}
