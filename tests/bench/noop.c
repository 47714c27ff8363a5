/* What is launched: nothing, by way of a static glibc, as a baseline has it too. */
int main(void) { return 0; }
