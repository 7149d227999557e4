/* Prints the version of the installed library, and checks that it is the one compiled against. */
#include <isovae/isovae.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    printf("isovae %s, ABI %d\n", isovae_version(), ISOVAE_ABI);
    return strcmp(isovae_version(), ISOVAE_VERSION) == 0 ? 0 : 1;
}
